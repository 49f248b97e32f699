"""``hpcdl report``: a run or a sweep as one HTML page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.run import Run

_OPENS_S = 5.0  # an opener that has not failed by then shows the page
_OUTPUT = "Where to write it. Default: report.html in the run folder."
_TEXT = "Of a sweep: print it in brief instead of writing a page."


@click.command(short_help="Write the report of a run or a sweep, one HTML page.")
@options.run_name
@click.option("-o", "--output", metavar="FILE", help=_OUTPUT)
@click.option("--open", "show", is_flag=True, help="Show it in this machine's browser.")
@click.option("--text", "as_text", is_flag=True, help=_TEXT)
@options.show_env
def command(
    run_name: str,
    places: options.Places,
    output: str | None,
    show: bool,
    as_text: bool,
    show_env: bool,
) -> int:
    """Write a run's report: one HTML page that needs no network and no other file.

    It shows curves, the confusion matrix, the scores of each class, the most
    confident mistakes, where the time went, and the job as it was sent. A run
    that has failed or still runs has a report, too, with fewer parts. The page's
    path is printed. Copy it to your own machine, or open it here with --open. If
    no browser opens, --open says so, and the exit code is 1.

    Of a prediction it shows how often each class was the answer, what has changed
    since the test, the least certain images, and what could not be used.

    Of a sweep it shows the best trials, all learning curves, how the parameters
    go together and which of them matter, what was pruned and what failed, and
    the cost. --text prints the same in brief.

    Values of env, and what looks like a secret, are hidden.

    \b
    hpcdl report k3f9
    hpcdl report k3f9 -o mnist.html
    hpcdl report SWEEP --text
    """
    run = options.find(run_name, places)
    if as_text:
        for line in _brief(run, show_env):
            click.echo(line)
        return 0
    text = _page(run, show_env)
    if output is None:
        path = write_page_somewhere(run.paths.report, text)
    else:
        path = write_page(Path(output), text)
    click.echo(path)
    if show and not _opened(path):
        options.say(f"no browser can be opened here; copy {path} to your own machine")
        return 1
    return 0


def is_sweep(run: Run) -> bool:
    """Whether a run's folder is a sweep's."""
    from hpcdl.sweeps.folder import SweepPaths

    return SweepPaths(run.paths.root).sweep.exists()


def _page(run: Run, show_env: bool) -> str:
    """The page of a run or a sweep."""
    from hpcdl.report.page import report

    if run.is_prediction():
        from hpcdl.report.prediction_page import prediction_report

        return prediction_report(run, show_env)
    if not is_sweep(run):
        return report(run, show_env)
    from hpcdl.report.sweep_facts import read
    from hpcdl.report.sweep_page import sweep_report

    return sweep_report(read(run, show_env))


def _brief(run: Run, show_env: bool) -> list[str]:
    """A sweep's lines for a terminal.

    Raises:
        UserError: it is not a sweep.
    """
    from hpcdl.errors import UserError
    from hpcdl.report.sweep_facts import read
    from hpcdl.report.sweep_text import brief

    if not is_sweep(run):
        raise UserError(
            f"{run.name} is a run, and --text is for sweeps; "
            f"{hpcdl_command('result', run.paths.root)} prints what came out of a run"
        )
    return brief(read(run, show_env))


def _opened(page: Path) -> bool:
    """Open a page in this machine's browser; whether that worked, as far as can be known."""
    if not sys.platform.startswith("linux"):
        return click.launch(str(page)) == 0
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    program = shutil.which("xdg-open")
    if program is None or not has_display:
        return False
    opener = subprocess.Popen(
        [program, str(page)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return opener.wait(_OPENS_S) == 0
    except subprocess.TimeoutExpired:
        return True  # the browser itself runs in it


def write_page_somewhere(usual: Path, text: str) -> Path:
    """Write a page into the run folder or, if that cannot be written, into this folder."""
    from hpcdl.errors import HpcdlError

    if os.access(usual.parent, os.W_OK):
        with suppress(HpcdlError):  # it may be full
            return write_page(usual, text)
    return write_page(Path(f"report-{usual.parent.name}.html"), text)


def write_page(path: Path, text: str) -> Path:
    """Write a page, whole or not at all, and give its absolute path.

    Raises:
        HpcdlError: it cannot be written there.
    """
    from hpcdl.files import write_text
    from hpcdl.oserrors import refusal

    try:
        write_text(path, text)
    except OSError as error:
        raise refusal(f"cannot write {path}", error, "choose another place with -o") from error
    return path.absolute()
