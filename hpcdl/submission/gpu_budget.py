"""The budget of GPU-hours that a profile sets: nothing is sent that would exceed it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpcdl import cache
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import RunError, SchedulerError, UserError
from hpcdl.formats import several
from hpcdl.planning import Plan
from hpcdl.run.gpu_hours import Holding, holding_of, holdings
from hpcdl.run.handle import Run
from hpcdl.run.usage import is_waiting_or_running
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.submitted import SweepSubmitted
from hpcdl.sweeps.usage import sweep_usage

_LOCK = "gpu-budget.lock"
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Spent:
    """GPU-hours of all runs in a runs_root.

    Args:
        used: by attempts that have ended.
        reserved: by those that wait or run, if they take all their time.
        under_way: how many runs and sweeps wait or run.
    """

    used: float
    reserved: float
    under_way: int


@dataclass(frozen=True)
class OverBudget:
    """Why something may not be sent: what was given and expected, and what to do."""

    cause: str
    fix: str


def asked_gpu_hours(plan: Plan, tasks: int = 1) -> float:
    """The GPU-hours of jobs that take all their time.

    Args:
        plan: the job's.
        tasks: how many of them there are.
    """
    size = plan.size
    return size.gpus * size.nodes * size.time_limit_s * tasks / _HOUR_S


@contextmanager
def within_budget(cluster: Cluster | None, runs_root: Path, asked: float) -> Iterator[None]:
    """Let only one of the user's commands send something at a time, where there is a budget.

    Args:
        cluster: the profile; None if there is none to look at.
        runs_root: the folder of runs.
        asked: GPU-hours of what is to be sent.

    Raises:
        UserError: it would exceed the budget.
    """
    if cluster is None or cluster.budget_gpu_hours is None or not asked:
        yield
        return
    with cache.locked(_LOCK):
        require_budget(cluster, runs_root, asked)
        yield


def require_budget(cluster: Cluster, runs_root: Path, asked: float) -> None:
    """Make sure that the budget allows more GPU-hours.

    Args:
        cluster: the profile.
        runs_root: the folder of runs.
        asked: GPU-hours of what is to be sent.

    Raises:
        UserError: it does not.
    """
    over = over_budget(cluster, runs_root, asked)
    if over is not None:
        place = cluster.places.get("budget_gpu_hours", "")
        where = f"{place}: " if place else ""
        raise UserError(f"{where}budget_gpu_hours: {over.cause}; {over.fix}")


def over_budget(cluster: Cluster, runs_root: Path, asked: float) -> OverBudget | None:
    """Why the budget does not allow more GPU-hours; None if it does.

    SLURM is asked only if the runs' own files say that it does not: some may have ended since.
    """
    budget = cluster.budget_gpu_hours
    if budget is None or not asked:
        return None
    spent = spent_in(runs_root)
    if spent.used + spent.reserved + asked > budget:
        spent = spent_in(runs_root, ask=True)
    needed = spent.used + spent.reserved + asked
    if needed <= budget:
        return None
    cause = (
        f"{budget:g} GPU-hours are allowed, {_hours(spent.used)} are used, "
        f"{_hours(spent.reserved)} are reserved by {several(spent.under_way, 'run')} under way, "
        f"and {_hours(asked)} are asked for"
    )
    raised = f"--set cluster.budget_gpu_hours={-(-needed // 1):.0f}"
    fix = (
        f"ask for a shorter time or fewer trials, cancel what is not needed, or raise it: {raised}"
    )
    return OverBudget(cause, fix)


def spent_in(runs_root: Path, ask: bool = False) -> Spent:
    """What this user's runs have used and reserved.

    Args:
        runs_root: the folder of runs.
        ask: whether SLURM is asked about those whose files do not show their end.
    """
    used = reserved = 0.0
    under_way = 0
    for by_files in holdings(runs_root):
        holding = by_files
        if holding.is_sweep:
            holding = _of_sweep(holding.folder, ask)
        elif holding.reserved and ask:
            holding = _asked_again(holding)
        used += holding.used
        reserved += holding.reserved
        under_way += holding.reserved > 0
    return Spent(used, reserved, under_way)


def _asked_again(holding: Holding) -> Holding:
    """A run's GPU-hours, when SLURM was asked whether it has ended."""
    try:
        status = Run(holding.folder).status()
    except RunError:  # removed meanwhile
        return Holding(holding.folder)
    return holding_of(holding.folder, is_over=not is_waiting_or_running(status.state))


def _of_sweep(folder: Path, ask: bool) -> Holding:
    """A sweep's GPU-hours: what its trials took, and what its tasks may still take."""
    paths = SweepPaths(folder)
    try:
        sweep = sweep_usage(paths, time.time())
    except (RunError, OSError):  # damaged or removed: hpcdl status says so
        return Holding(folder, is_sweep=True)
    if sweep.submitted is None or sweep.submitted.backend != "slurm":
        return Holding(folder, is_sweep=True)
    used, reserved = sweep.usage.gpu_hours, 0.0
    if not sweep.is_over:
        tasks = _tasks(paths, sweep.submitted, ask)
        reserved = tasks * sweep.usage.request.reserved_gpu_hours
    if sweep.settings.gpu_hours is not None:
        reserved = min(reserved, max(0.0, sweep.settings.gpu_hours - used))
    return Holding(folder, used, reserved, is_sweep=True)


def _tasks(paths: SweepPaths, submitted: SweepSubmitted, ask: bool) -> int:
    """How many tasks wait or run; as many as were sent if SLURM does not tell."""
    if ask:
        from hpcdl.submission.sweep_tasks import living_tasks

        try:
            return living_tasks(paths)
        except SchedulerError:
            pass
    return sum(array.tasks for array in submitted.arrays)


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.3g}"
