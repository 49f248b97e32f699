"""Shows how far a transfer is: a bar on a terminal, a line for each quarter elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from hpcdl.cli.talk import Talk


class Lines(Talk):
    """A line on stderr whenever another quarter of a file is there."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}

    def tell(self, file: str, done: int, total: int | None) -> None:
        """Tell how many of a file's bytes are there."""
        quarter = 4 * done // total if total else 0
        if quarter > self.shown.get(file, 0 if done else -1):
            self.shown[file] = quarter
            of = f" of {total / 1e6:.1f}" if total else ""
            self.say(f"{file}: {done / 1e6:.1f}{of} MB")


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
        """Tell how many of a file's bytes are there."""
        if file not in self.tasks:
            self.tasks[file] = self.progress.add_task(file)
        self.progress.update(self.tasks[file], completed=done, total=total)


def meter() -> Lines:
    """What suits this process's stderr."""
    return Bar() if sys.stderr.isatty() else Lines()
