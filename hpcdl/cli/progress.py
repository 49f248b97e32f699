"""Shows the progress of a transfer: a bar on a terminal, a line for each quarter elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from hpcdl.cli.talk import Talk


class Lines(Talk):
    """A line on stderr for each quarter of a file."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}

    def tell(self, file: str, done: int, total: int | None) -> None:
        """Tell how many of a file's bytes are transferred, and how many it has, if known."""
        quarter = 4 * done // total if total else 0
        if file in self.shown:
            is_new = quarter > self.shown[file]
        else:
            is_new = quarter > 0 or done == 0  # also when a transfer begins
        if not is_new:
            return
        self.shown[file] = quarter
        size = f"{done / 1e6:.1f}"
        if total:
            size += f" of {total / 1e6:.1f}"
        self.say(f"{file}: {size} MB")


class Bar(Lines):
    """A live bar for each file."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

        self.bars(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        )
        self.tasks: dict[str, Any] = {}

    def tell(self, file: str, done: int, total: int | None) -> None:
        """Tell how many of a file's bytes are transferred, and how many it has, if known."""
        if file not in self.tasks:
            self.tasks[file] = self.progress.add_task(file)
        self.progress.update(self.tasks[file], completed=done, total=total)


def meter() -> Lines:
    """Bars if stderr is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()
