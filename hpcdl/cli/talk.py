"""Lines on stderr while something lasts: plain ones, or lines above live bars on a terminal."""

from __future__ import annotations

from typing import Any, TypeVar

import click

T = TypeVar("T", bound="Talk")


class Talk:
    """Says lines. `bars` adds live bars below them, which its ``with`` block starts and stops."""

    progress: Any = None  # rich's, if there are bars

    def __enter__(self: T) -> T:
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def bars(self, *columns: Any, transient: bool = False) -> None:
        """Add bars of these columns of rich's; transient ones leave nothing behind."""
        from rich.console import Console
        from rich.progress import Progress

        self.progress = Progress(*columns, console=Console(stderr=True), transient=transient)

    def say(self, text: str) -> None:
        """Say a line, above the bars if there are any."""
        if self.progress is None:
            click.echo(text, err=True)
        else:
            self.progress.console.print(text, markup=False, highlight=False)
