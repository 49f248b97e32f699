"""``hpcdl cluster test``: does this site keep hpcdl's promises?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.promises.jobs import Wanted
    from hpcdl.promises.outcome import Outcome

_ONLY = "Try this promise alone. May be repeated."
_GPUS = "GPUs of the job that looks at a node. Default: those of a node."
_IMAGE = "The image: a name of the profile's, or a path."
_MINUTES = "The most GPU-minutes that all jobs together may take."
_WAIT_LIMIT = "How long a job may wait in the queue before it is cancelled."
_YES = "Send the jobs without asking."
_DRY_RUN = "Say what would be sent, and send nothing."
_FIX = "Write into your profile what helps against a broken promise."
_HTML = "Write the page to this file as well."
_LEFT = 130  # the exit code after Ctrl-C


@dataclass(frozen=True)
class Choice:
    """What is tried, and how: --only, --gpus, --container, --gpu-minutes, --wait-limit."""

    only: tuple[str, ...]
    gpus: int | None
    container: str
    gpu_minutes: float
    wait_limit: str


@dataclass(frozen=True)
class Steps:
    """Which steps are wanted: --yes, --dry-run, --fix, --json, --html."""

    yes: bool
    dry_run: bool
    fix: bool
    as_json: bool
    html: str | None


_choice = options.grouped(
    "choice",
    Choice,
    click.option("--only", multiple=True, metavar="PROMISE", help=_ONLY),
    click.option("--gpus", type=click.IntRange(min=0), metavar="N", help=_GPUS),
    click.option("--container", default="tensorflow", show_default=True, help=_IMAGE),
    click.option(
        "--gpu-minutes",
        type=click.FloatRange(min=0),
        default=10,
        show_default=True,
        help=_MINUTES,
    ),
    click.option(
        "--wait-limit", metavar="TIME", default="01:00:00", show_default=True, help=_WAIT_LIMIT
    ),
)
_steps = options.grouped(
    "steps",
    Steps,
    click.option("--yes", "-y", is_flag=True, help=_YES),
    click.option("--dry-run", is_flag=True, help=_DRY_RUN),
    click.option("--fix", is_flag=True, help=_FIX),
    options.as_json,
    click.option("--html", metavar="PAGE", help=_HTML),
)


class _Command(click.Command):
    """Says where a profile is named: `cluster show` takes it without --cluster."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra" not in error.message:
                raise
            hint = "the profile follows --cluster"
            raise click.UsageError(f"{error.format_message()} ({hint})", ctx) from error


@click.command(
    "test",
    cls=_Command,
    short_help="Find out by tiny jobs whether this site keeps hpcdl's promises.",
)
@options.cluster
@options.profile_sets
@options.runs_dir
@_choice
@_steps
def command(
    cluster: str | None,
    sets: tuple[str, ...],
    runs_dir: str | None,
    choice: Choice,
    steps: Steps,
) -> int:
    """Find out by tiny jobs whether this site keeps hpcdl's promises.

    Run it on a login node. It says which jobs it would send and what they can
    cost, and asks. The jobs run at the same time, on your own account: one looks
    at a node, a training is stopped by its time limit and goes on, a job is
    cancelled, a job takes too much memory. Ctrl-C cancels them all, and shows
    what is known so far.

    Each promise is kept, broken, or not tried, with what was seen and, where a
    key of the profile helps, the line to write; --fix writes it. The folder of
    the test keeps its runs, a record and a page until the profile's next test.

    Exit code 0: every promise is kept. 2: one is broken. 1: one could not be tried.

    \b
    hpcdl cluster test -c mycluster.yaml --dry-run
    hpcdl cluster test -c mycluster.yaml --yes --fix
    hpcdl cluster test -c mycluster.yaml --only gpus --only scratch
    """
    from hpcdl.cluster import load_cluster
    from hpcdl.promises.folder import new_folder
    from hpcdl.promises.judging import exit_code
    from hpcdl.promises.names import chosen_promises
    from hpcdl.promises.trying import SiteTest

    wait_limit_s = _seconds(choice.wait_limit)
    promises = chosen_promises(choice.only)
    profile = load_cluster(options.profile_of(cluster, None), sets)
    _require_slurm(profile)
    test = SiteTest(profile, promises, new_folder(profile, runs_dir), options.say)
    test.prepare(_wanted(choice))
    for line in test.what_is_sent():
        options.say(line)
    if steps.dry_run:
        options.say("nothing was sent")
        return 0
    if test.sends_any:
        _confirm(steps.yes)
    outcome = test.run(wait_limit_s)
    _show(outcome, steps)
    if steps.fix and outcome.changes and test.was_left:
        options.say("--fix writes nothing, as the test was left early")
    elif steps.fix and outcome.changes:
        _fix(profile, outcome.changes)
    return _LEFT if test.was_left else exit_code(outcome.verdicts)


def _require_slurm(cluster: Cluster) -> None:
    """Make sure that jobs can be sent from here, to a site with images.

    Raises:
        UserError: the profile names no image.
        SchedulerError: there is no SLURM here.
    """
    from hpcdl.errors import SchedulerError, UserError
    from hpcdl.scheduler import slurm

    if not cluster.images:
        raise UserError(
            f"{cluster.name} names no container image, in which a job runs; "
            "expected images: {tensorflow: /path/to/image.sif}"
        )
    if not slurm.available():
        raise SchedulerError("there is no sbatch on this machine: run hpcdl on a login node")


def _seconds(text: str) -> float:
    from hpcdl.job.sections import parse_time

    try:
        return float(parse_time(text))
    except ValueError as error:
        raise click.BadParameter(f"--wait-limit {text!r}: {error}") from error


def _wanted(choice: Choice) -> Wanted:
    from hpcdl.promises.jobs import Wanted

    return Wanted(choice.gpus, choice.container, choice.gpu_minutes)


def _confirm(yes: bool) -> None:
    """Ask whether to send the jobs.

    Raises:
        UserError: nobody can be asked.
    """
    from hpcdl.errors import UserError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("nobody can be asked here whether to send these jobs; say --yes")
    click.confirm("send them?", default=True, abort=True, err=True)


def _show(outcome: Outcome, steps: Steps) -> None:
    """Print the table or JSON, and write the record and the pages."""
    from hpcdl.cli.report import write_page, write_page_somewhere
    from hpcdl.contract.tables import aligned
    from hpcdl.oserrors import sentence
    from hpcdl.promises.page import page

    if steps.as_json:
        click.echo(json.dumps(outcome.as_json(), indent=2))
    else:
        for line in aligned(outcome.lines()):
            click.echo(line)
        click.echo(outcome.summary)
    try:
        outcome.write()
    except OSError as error:  # the verdicts are worth more than their record
        options.say(f"the record cannot be written: {sentence(error)}")
    text = page(outcome)
    if steps.html is not None:
        write_page(Path(steps.html), text)
    options.say(f"page: {write_page_somewhere(outcome.folder.page, text)}")
    options.say(f"runs: {outcome.folder.root}, until the next test of {outcome.profile}")


def _fix(cluster: Cluster, changes: Mapping[str, object]) -> None:
    """Write the keys that help into the user's profile, and show what is changed."""
    from hpcdl.promises.profile_edit import Edit

    edit = Edit(cluster, changes)
    for line in edit.lines():
        options.say(line)
    edit.write()
    options.say(f"written: {edit.path}; try it with another hpcdl cluster test")
