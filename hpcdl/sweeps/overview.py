"""How far a sweep is: its state, its trials by state, the best one, the budget, and until when."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hpcdl.run import states
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.keeping import best_numbers
from hpcdl.sweeps.living_tasks import LivingTasks, living_tasks
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.spent import budget_of, used_gpu_hours
from hpcdl.sweeps.state import SweepState, TrialState
from hpcdl.sweeps.submitted import SweepSubmitted

COUNTED = (
    states.DONE,
    states.PRUNED,
    states.FAILED,
    states.LOST,
    states.CANCELLED,
    states.RUNNING,
    states.REQUEUED,
    states.QUEUED,
)
_GOES_ON = "hpcdl retry SWEEP goes on with them"


@dataclass(frozen=True)
class SweepOverview:
    """How far a sweep is.

    Args:
        state: one of the words of `hpcdl.run.states`.
        budget: how many trials there are to be.
        counts: how many trials are in each state.
        trials: the state of each trial that was begun, by number.
        settings: the sweep's.
        fold: what the tasks' logs say of the trials.
        gpu_hours: how many its trials have used.
        job_ids: SLURM's ids of its arrays.
        started: when the first trial began (unix time).
        ended: when the last trial ended (unix time); None while the sweep goes on.
        until: about when the sweep ends (unix time); None if that cannot be estimated.
        note: a sentence on why it is so.
    """

    state: str
    budget: int
    counts: dict[str, int]
    trials: dict[int, str]
    settings: SweepSettings
    fold: SweepState
    gpu_hours: float = 0.0
    job_ids: list[str] = field(default_factory=list)
    started: float | None = None
    ended: float | None = None
    until: float | None = None
    note: str = ""

    @property
    def final(self) -> bool:
        """Whether the sweep has ended for good."""
        return self.state in states.FINAL

    def best(self, count: int) -> list[TrialState]:
        """The best trials that are done, the best first."""
        return [
            self.fold.trials[number] for number in best_numbers(self.fold, self.settings, count)
        ]

    def as_dict(self) -> dict[str, Any]:
        """What ``hpcdl status --json`` prints."""
        best = None
        for trial in self.best(1):
            best = {"trial": trial.number, "value": trial.value, "params": trial.params}
        return {
            "kind": "sweep",
            "state": self.state,
            "trials": {"budget": self.budget, **self.counts},
            "metric": self.settings.metric,
            "best": best,
            "gpu_hours": round(self.gpu_hours, 3),
            "gpu_hours_budget": self.settings.gpu_hours,
            "job_ids": self.job_ids,
            "started": self.started,
            "ended": self.ended,
            "until": self.until,
            "note": self.note,
        }


def overview(paths: SweepPaths) -> SweepOverview:
    """Look at a sweep: its tasks' logs and, if it goes on, SLURM's answers about its tasks.

    Raises:
        RunError: its sweep.json or submitted.json cannot be used.
        OSError: its folder cannot be read.
    """
    settings = SweepSettings.read(paths)
    submitted = SweepSubmitted.read(paths)
    fold = whole_state(paths)
    trials = _trials_by_files(paths, fold)
    tasks = LivingTasks()
    budget = budget_of(settings, submitted)
    left = _left(paths, settings, fold, budget, len(trials))
    if not paths.cancelled.exists() and (left or _unsettled(trials)):
        tasks = living_tasks(paths, submitted, _tasks_in_hand(fold, trials))
        trials = _by_tasks(fold, trials, tasks)
    counts = _counts(trials, left)
    state, note = _state(paths, submitted, counts, tasks)
    final = state in states.FINAL
    return SweepOverview(
        state=state,
        budget=budget,
        counts=counts,
        trials=trials,
        settings=settings,
        fold=fold,
        gpu_hours=used_gpu_hours(settings, fold, time.time()),
        job_ids=[] if submitted is None else submitted.job_ids,
        started=_earliest(trial.claimed_at for trial in fold.trials.values()),
        ended=_latest(trial.ended_at for trial in fold.trials.values()) if final else None,
        until=None if state != states.RUNNING else _until(settings, fold, counts),
        note=note,
    )


def _trials_by_files(paths: SweepPaths, fold: SweepState) -> dict[int, str]:
    """The state of each trial that was begun."""
    trials = {}
    offered = set(paths.offered_numbers())
    is_cancelled = paths.cancelled.exists()
    for number in sorted({*paths.claimed_numbers(), *fold.trials}):
        trial = fold.trials.get(number)
        state = states.RUNNING if trial is None else trial.state
        if number in offered:
            state = states.REQUEUED
        if is_cancelled and state in (states.RUNNING, states.REQUEUED):
            state = states.CANCELLED
        trials[number] = state
    return trials


def _left(
    paths: SweepPaths, settings: SweepSettings, fold: SweepState, budget: int, begun: int
) -> int:
    """How many trials are still to begin."""
    if paths.stop.exists() or paths.cancelled.exists():
        return 0
    used = used_gpu_hours(settings, fold, time.time())
    if settings.gpu_hours is not None and used >= settings.gpu_hours:
        return 0
    return max(0, budget - begun)


def _unsettled(trials: dict[int, str]) -> list[int]:
    return [number for number, state in trials.items() if state not in states.FINAL]


def _tasks_in_hand(fold: SweepState, trials: dict[int, str]) -> list[str]:
    """The ids of the tasks that have a trial which has not ended."""
    tasks = []
    for number in _unsettled(trials):
        trial = fold.trials.get(number)
        if trial is not None and trials[number] == states.RUNNING:
            tasks.append(_task_of(trial))
    return tasks


def _task_of(trial: TrialState) -> str:
    return trial.task.partition(".")[0]  # without the slot


def _by_tasks(fold: SweepState, trials: dict[int, str], tasks: LivingTasks) -> dict[int, str]:
    """The trials' states by what is known of their tasks."""
    better = dict(trials)
    for number in _unsettled(trials):
        trial = fold.trials.get(number)
        if trials[number] == states.REQUEUED:
            if tasks.are_left is False:
                better[number] = states.LOST  # nobody is left to take it
        elif trial is None:
            if tasks.are_left is False:
                better[number] = states.LOST
        elif _task_of(trial) in tasks.ended:
            better[number] = states.LOST
        elif _task_of(trial) in tasks.waiting:
            better[number] = states.REQUEUED
    return better


def _counts(trials: dict[int, str], left: int) -> dict[str, int]:
    counts = dict.fromkeys(COUNTED, 0)
    for state in trials.values():
        counts[state] += 1
    counts[states.QUEUED] = left
    return counts


def _state(
    paths: SweepPaths,
    submitted: SweepSubmitted | None,
    counts: dict[str, int],
    tasks: LivingTasks,
) -> tuple[str, str]:
    """A sweep's state, and why."""
    if paths.cancelled.exists():
        return states.CANCELLED, ""
    if submitted is None:
        return states.CREATED, "it was never submitted"
    if counts[states.RUNNING]:
        return states.RUNNING, ""
    left = counts[states.QUEUED] + counts[states.REQUEUED]
    if left and tasks.are_left is not False:
        return states.QUEUED, tasks.note
    left += counts[states.LOST]
    if left:
        return states.LOST, f"its tasks have ended, and {left} trials are left; {_GOES_ON}"
    reason = _reason_of_stop(paths)
    if counts[states.DONE] + counts[states.PRUNED] == 0:
        return states.FAILED, reason
    return states.DONE, reason


def _reason_of_stop(paths: SweepPaths) -> str:
    """Why a sweep was stopped before its budget was used; empty if it was not."""
    try:
        text = paths.stop.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    reason = text.strip()
    return f"stopped: {reason.splitlines()[0]}" if reason else "stopped"


def _until(settings: SweepSettings, fold: SweepState, counts: dict[str, int]) -> float | None:
    """About when the sweep ends, if its trials go on as they did; None before one has ended."""
    ended = [trial.seconds for trial in fold.trials.values() if trial.state != "running"]
    if not ended or not counts[states.RUNNING]:
        return None
    mean_s = sum(ended) / len(ended)
    left = counts[states.QUEUED] + counts[states.REQUEUED] + counts[states.RUNNING] / 2
    seconds = left * mean_s / counts[states.RUNNING]
    share = settings.gpus / settings.trials_per_gpu
    if settings.gpu_hours is not None and share:
        used = used_gpu_hours(settings, fold, time.time())
        hours_left = max(0.0, settings.gpu_hours - used)
        seconds = min(seconds, hours_left * 3600 / share / counts[states.RUNNING])
    return time.time() + seconds


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((moment for moment in times if moment is not None), default=None)


def _latest(times: Iterable[float | None]) -> float | None:
    return max((moment for moment in times if moment is not None), default=None)
