"""``hpcdl logs``: a run's log, whole or as it grows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.run import Run


@click.command(short_help="Print a run's log.")
@options.run_argument
@click.option("-f", "--follow", "follow_it", is_flag=True, help="Go on printing until the run has ended.")
def command(run: str, cluster: str | None, runs_dir: str | None, follow_it: bool) -> None:
    """Print a run's log, all attempts in order.

    Where the program never started, the batch script's own output is printed.

    \b
    hpcdl logs k3f9 -f
    """
    found = options.find(run, cluster, runs_dir)
    shown: dict[Path, int] = {}
    for _ in _ticks(found, follow_it):
        for log in found.logs():
            _print_from(log, shown)
    if not shown:
        for log in sorted(found.paths.logs.glob("*.out")):
            _print_from(log, shown)


def _ticks(run: Run, follow_it: bool) -> Iterator[None]:
    """Once, or again and again until the run has ended, and then once more."""
    if follow_it:
        for _ in run.watch():
            yield
    yield


def _print_from(log: Path, shown: dict[Path, int]) -> None:
    with log.open("rb") as stream:
        if log not in shown and shown:
            options.say(f"== {log.name} ==")
        stream.seek(shown.get(log, 0))
        sys.stdout.buffer.write(stream.read())
        sys.stdout.flush()
        shown[log] = stream.tell()
