"""``hpcdl retry``: send what failed again, as its cause asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options
from hpcdl.run.remedies import CAUSES
from hpcdl.text import with_run

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.run import Run
    from hpcdl.run.remedies import Asked
    from hpcdl.submission.retry import Retry

_FAILED = "Only what failed or was lost, not what was cancelled or never sent."
_CAUSE = "Only what ended for this cause. Needed for what was cancelled."
_TRIAL = "Of a sweep: only this trial. May be repeated."
_MEMORY = "Memory for the next attempt, in GB. Default: half as much again, after out_of_memory."
_FORCE = "Send it even if it will most likely fail in the same way."
_DRY_RUN = "Print what would be done, and send nothing."


@dataclass(frozen=True)
class Which:
    """Which runs are sent again: --failed, --cause, --trial."""

    failed: bool
    cause: str | None
    trials: tuple[int, ...]


@dataclass(frozen=True)
class How:
    """How they are sent: --memory-gb, --force, --dry-run."""

    memory_gb: float | None
    force: bool
    dry_run: bool


_which = options.grouped(
    "which",
    Which,
    click.option("--failed", is_flag=True, help=_FAILED),
    click.option("--cause", type=click.Choice(CAUSES), help=_CAUSE),
    click.option(
        "--trial", "trials", type=click.IntRange(min=0), multiple=True, metavar="N", help=_TRIAL
    ),
)
_how = options.grouped(
    "how",
    How,
    click.option(
        "--memory-gb", type=click.FloatRange(min=0, min_open=True), metavar="GB", help=_MEMORY
    ),
    click.option("--force", is_flag=True, help=_FORCE),
    click.option("--dry-run", is_flag=True, help=_DRY_RUN),
)


@click.command(short_help="Send what failed again, as its cause asks for.")
@click.argument("run_name", metavar="RUN|SWEEP", shell_complete=completion.runs)
@options.places
@_which
@_how
@options.profile_sets
def command(
    run_name: str, places: options.Places, which: Which, how: How, sets: tuple[str, ...]
) -> None:
    """Send a run, or a sweep's trials, that failed again, as the cause asks for.

    The run keeps its folder, its files and its batch script, and goes on from its
    last checkpoint. Options of sbatch's command line come before the script's:

    \b
    out_of_memory            half as much memory again, at most a node's
    node_failure, device     not on the node where it failed
    time_limit, lost         as it was
    internal, stall          as it was, once
    user_code, spec, data    refused without --force: it would fail again
    cancelled                only with --cause cancelled
    dependency               as it was, if what it waits for may still succeed

    Runs that were to come after it (submit --after) wait for its new job; those
    that were cancelled because it failed are sent again, too.

    Of a SWEEP, trials are sent that failed, or whose task has ended with them in
    hand, each with its number, folder and checkpoints; and if no task is left,
    those that never began.

    What exceeds the profile's budget or the site's limits is not sent, as for
    submit and sweep.

    \b
    hpcdl retry k3f9 --dry-run
    hpcdl retry k3f9
    hpcdl retry k3f9 --memory-gb 128
    hpcdl retry k3f9 --force
    hpcdl retry SWEEP --cause out_of_memory
    hpcdl retry SWEEP --trial 17 --trial 23
    hpcdl retry SWEEP --set cluster.budget_gpu_hours=300
    """
    from hpcdl.errors import UserError
    from hpcdl.run.paths import RunPaths, sweep_of
    from hpcdl.run.remedies import Asked

    run = options.find(run_name, places)
    asked = Asked(which.failed, which.cause, how.force, named=bool(which.trials))
    sweep = sweep_of(run.paths)
    if sweep is not None:
        from hpcdl.cli.retry_sweep import OfSweep, retry_sweep

        numbers = which.trials
        if sweep != run.paths.root:  # the user named a trial's folder
            numbers = (int(run.paths.root.name),)
            asked = replace(asked, named=True)
        cluster = options.sent_with(RunPaths(sweep), places, sets)
        retry_sweep(OfSweep(sweep, numbers, how.memory_gb, how.dry_run, cluster), asked)
        return
    if which.trials:
        raise UserError(f"--trial {which.trials[0]}: {run.name} is a run, which has no trials")
    _retry_run(run, asked, how, options.sent_with(run.paths, places, sets))


def _retry_run(run: Run, asked: Asked, how: How, cluster: Cluster | None) -> None:
    from hpcdl.cli.run_lines import follower_lines
    from hpcdl.errors import UserError
    from hpcdl.submission.retry import decide_retry, require_retry_budget, send

    retry = decide_retry(run, asked, how.memory_gb)
    if how.dry_run:
        click.echo(_line(retry))
        if retry.decision.sends:
            for line in _outlook_lines(retry):
                click.echo(line)
            require_retry_budget(retry, cluster)
    elif retry.decision.sends:
        moved = send(retry, cluster)
        options.say(_line(retry))
        for line in follower_lines(moved):
            options.say(line)
        click.echo(run.paths.root)
    elif retry.decision.is_refused:
        message = f"{retry.decision.cause}, so it is not sent: {retry.decision.instead}"
        raise UserError(f"{run.name}: {with_run(message, run.paths.root)}")
    else:
        options.say(f"{run.name}: {retry.decision.action}")


def _outlook_lines(retry: Retry) -> list[str]:
    """What the run and those that are sent with it may cost."""
    from hpcdl.submission.again import gpu_hours_again

    gpu_hours = gpu_hours_again(retry.run)
    if not gpu_hours or not retry.run.paths.script.exists():
        return []
    return [f"up to {gpu_hours:.2f} GPU-hours in one go"]


def _line(retry: Retry) -> str:
    """A run, why it ended, what is done about it, and the options of sbatch's for that."""
    decision = retry.decision
    parts = [retry.run.name, decision.cause or retry.status.state, decision.action]
    if retry.words:
        parts.append(retry.words)
    if decision.sends and retry.options:
        parts.append(" ".join(retry.options))
    return " · ".join(parts)
