"""``hpcdl report``: a run as one HTML page."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hpcdl.cli import options


@click.command(short_help="Write a run's report, one HTML page.")
@options.run_argument
@click.option("-o", "--output", metavar="FILE", help="Where to write it. Default: report.html in the run folder.")
@click.option("--open", "show", is_flag=True, help="Show it in this machine's browser.")
def command(run: str, cluster: str | None, runs_dir: str | None, output: str | None, show: bool) -> None:
    """Write a run's report: one HTML page that needs no network and no other file.

    Curves, the confusion matrix, the scores of each class, the most confident
    mistakes, where the time went, the job as it was sent; of a run that has
    failed or still runs, what there is. The page's path is printed. Copy it to
    your own machine, or read it there by --open.

    \b
    hpcdl report k3f9
    hpcdl report k3f9 -o mnist.html
    """
    from hpcdl.report.page import report

    found = options.find(run, cluster, runs_dir)
    text = report(found)
    if output is None:
        writable = os.access(found.paths.root, os.W_OK)
        output = str(found.paths.report if writable else Path(f"report-{found.paths.root.name}.html"))
    click.echo(write_page(Path(output), text))
    if show:
        click.launch(output)


def write_page(path: Path, text: str) -> Path:
    """Write a page, whole or not at all; its absolute path.

    Raises:
        UserError: it cannot be written there.
    """
    from hpcdl.errors import UserError
    from hpcdl.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place with -o") from error
    return path.absolute()
