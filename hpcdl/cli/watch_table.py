"""``hpcdl status --watch``: the table again and again, drawn anew when the terminal changes."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hpcdl.cli.status_table import ELAPSED, cells_of

if TYPE_CHECKING:
    from rich.text import Text

    from hpcdl.cli.status import View

_LOOK_S = 5.0  # how often the runs are looked at


def watch_table(look: Callable[[], View], ends: bool) -> int:
    """Show what `look` gives until the user leaves.

    Args:
        look: looks at the runs.
        ends: whether to end when all of them have ended.

    Returns:
        the exit status: 130 if the user left by Ctrl-C, else 0.
    """
    show = _on_terminal if sys.stdout.isatty() else _by_lines
    try:
        show(look, ends)
    except KeyboardInterrupt:
        return 130
    return 0


def _by_lines(look: Callable[[], View], ends: bool) -> None:
    """Print the table, and again when more than the elapsed time of it has changed."""
    before: list[list[str]] | None = None
    while True:
        view = look()
        cells = _without_elapsed(view)
        if cells != before:
            if before is not None:
                click.echo("")
            for line in _lines(view):
                click.echo(line)
            before = cells
        if ends and _all_ended(view):
            return
        time.sleep(_LOOK_S)


def _on_terminal(look: Callable[[], View], ends: bool) -> None:
    """Show the table on a screen of its own; leaving shows the last one below the prompt."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    lines: list[str] = []
    try:
        with _resizes() as resized, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                view = look()
                lines = _lines(view)
                if ends and _all_ended(view):
                    return
                until = time.monotonic() + _LOOK_S
                while (left_s := until - time.monotonic()) > 0:
                    live.update(_screen(lines, *console.size), refresh=True)
                    _wait(resized, left_s)
    finally:
        for line in lines:
            click.echo(line)


def _lines(view: View) -> list[str]:
    from hpcdl.cli.status import lines_of

    lines = lines_of(view) if view.entries else ["no run fits"]
    if view.hidden:
        lines.append(f"({view.hidden} older runs are not shown; hpcdl status --all)")
    return lines


def _without_elapsed(view: View) -> list[list[str]]:
    rows = []
    for entry in view.entries:
        cells = cells_of(entry)
        cells[ELAPSED] = ""
        rows.append(cells)
    return rows


def _all_ended(view: View) -> bool:
    return all(entry.final for entry in view.entries)


def _screen(lines: Sequence[str], width: int, height: int) -> Text:
    """As much as the screen holds: the heading, the newest lines, and when it was drawn."""
    from rich.text import Text

    room = max(1, height - 2)
    shown = list(lines)
    if len(shown) > room:
        shown = [shown[0], *shown[len(shown) - room + 1 :]]
    last = f"{time.strftime('%H:%M:%S')}, every {_LOOK_S:g} s; Ctrl-C ends"
    cut_lines = [line[:width] for line in (*shown, last)]
    return Text("\n".join(cut_lines), no_wrap=True, overflow="crop")


@contextmanager
def _resizes() -> Iterator[int]:
    """A pipe from which a byte can be read after each change of the terminal's size."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler_before = signal.signal(signal.SIGWINCH, lambda number, frame: None)
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup_before)
        signal.signal(signal.SIGWINCH, handler_before)
        os.close(reader)
        os.close(writer)


def _wait(reader: int, seconds: float) -> None:
    """Wait until the terminal's size changes, or for that long."""
    ready, _, _ = select.select([reader], [], [], seconds)
    if ready:
        os.read(reader, 4096)
