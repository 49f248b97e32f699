"""``hpcdl retry SWEEP``: which trials are sent again, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.errors import UserError
from hpcdl.text import hpcdl_command, with_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.cluster import Cluster
    from hpcdl.run.remedies import Asked
    from hpcdl.submission.sweep_retry import SweepRetry, TrialRetry


@dataclass(frozen=True)
class OfSweep:
    """What the user asks of a sweep.

    Args:
        root: the sweep's folder.
        numbers: only these trials; empty for all.
        memory_gb: the memory for the next attempts, in GB of 1024^3 bytes.
        dry_run: whether nothing is sent.
        cluster: the profile; None if there is none to look at.
    """

    root: Path
    numbers: Sequence[int]
    memory_gb: float | None
    dry_run: bool
    cluster: Cluster | None = None


def retry_sweep(of: OfSweep, asked: Asked) -> None:
    """Send a sweep's trials again, or show what would be done.

    Raises:
        UserError: all that could be sent is refused.
    """
    from hpcdl.cli.new_tasks import require_allowed
    from hpcdl.cli.run_lines import follower_lines
    from hpcdl.submission.sweep_retry import (
        decide_sweep_retry,
        send_sweep_retry,
        tasks_of_retry,
    )
    from hpcdl.sweeps.folder import SweepPaths

    retry = decide_sweep_retry(SweepPaths(of.root), asked, of.numbers, of.memory_gb)
    if of.dry_run:
        _show(retry, of)
        return
    lines = _grouped(retry, of.root)
    refused = [trial for trial in retry.trials if trial.decision.is_refused]
    if not retry.count and refused:
        raise UserError("\n".join(lines))
    if retry.count:
        require_allowed(tasks_of_retry(retry, of.cluster))
        moved = send_sweep_retry(retry, of.cluster)
        lines += [*_other_lines(retry), *follower_lines(moved)]
    elif not lines:
        lines.append(f"{of.root}: nothing to send: no trial has failed or lost its task")
    for line in lines:
        options.say(line)
    if retry.count:
        click.echo(of.root)


def _show(retry: SweepRetry, of: OfSweep) -> None:
    """Print what would be done, and what it may cost.

    Raises:
        UserError: the site or the profile's budget would not allow it.
    """
    from hpcdl.cli.new_tasks import outlook_lines, require_allowed
    from hpcdl.submission.sweep_retry import tasks_of_retry

    for trial in retry.trials:
        what = _with_paths(_what(trial), of.root, trial.number)
        click.echo(f"trial {trial.number} · {trial.decision.cause} · {what}")
    for line in _other_lines(retry):
        click.echo(line)
    if retry.count:
        new_tasks = tasks_of_retry(retry, of.cluster)
        for line in outlook_lines(new_tasks):
            click.echo(line)
        require_allowed(new_tasks)


def _what(trial: TrialRetry) -> str:
    if trial.decision.is_refused:
        return f"not sent: {trial.decision.instead}"
    return trial.decision.action


def _with_paths(text: str, root: Path, number: int) -> str:
    """An advice with the sweep in RUN's place, or the trial where a trial's files are meant."""
    for command in ("logs", "result"):
        text = text.replace(f"hpcdl {command} RUN", hpcdl_command(command, f"{root}/{number}"))
    return with_run(text, root)


def _grouped(retry: SweepRetry, root: Path) -> list[str]:
    """The trials, those with one cause and one action in one line."""
    from hpcdl.scheduler.arrays import expression_of

    groups: dict[str, list[int]] = {}
    for trial in retry.trials:
        groups.setdefault(f"{trial.decision.cause} · {_what(trial)}", []).append(trial.number)
    lines = []
    for what, numbers in groups.items():
        word = "trial" if len(numbers) == 1 else "trials"
        lines.append(f"{word} {expression_of(numbers)} · {_with_paths(what, root, numbers[0])}")
    return lines


def _other_lines(retry: SweepRetry) -> list[str]:
    """What else the new tasks are for, and their options."""
    lines = []
    if retry.offered:
        lines.append(f"{retry.offered} offered before, for which no task is left")
    if retry.never_begun:
        lines.append(f"{retry.never_begun} that never began")
    if retry.words:
        lines.append(retry.words)
    if retry.count and retry.options:
        lines.append(f"sbatch gets {' '.join(retry.options)}")
    return lines
