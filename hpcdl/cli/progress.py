"""Shows how far a transfer is: a bar on a terminal, a line for each quarter elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import click


class Lines:
    """A line on stderr whenever another quarter of a file is there."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Say something else."""
        click.echo(text, err=True)

    def tell(self, file: str, done: int, total: int | None) -> None:
        """Tell how many of a file's bytes are there."""
        quarter = 4 * done // total if total else 0
        if quarter > self.shown.get(file, 0 if done else -1):
            self.shown[file] = quarter
            of = f" of {total / 1e6:.1f}" if total else ""
            click.echo(f"{file}: {done / 1e6:.1f}{of} MB", err=True)


class Bar(Lines):
    """A live bar for each file."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """Say something else, above the bars."""
        self.progress.console.print(text, markup=False, highlight=False)

    def tell(self, file: str, done: int, total: int | None) -> None:
        """Tell how many of a file's bytes are there."""
        if file not in self.tasks:
            self.tasks[file] = self.progress.add_task(file)
        self.progress.update(self.tasks[file], completed=done, total=total)


def meter() -> Lines:
    """What suits this process's stderr."""
    return Bar() if sys.stderr.isatty() else Lines()
