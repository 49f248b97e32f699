"""How far a sweep is: its trials by state, its best one, what it has used of its budget. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpcdl.sweeps.keeping import best_numbers
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState, TrialState
from hpcdl.sweeps.suggest import grid_size


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is.

    Args:
        counts: how many trials are ``done``, ``pruned``, ``failed`` and ``running``.
        budget: how many trials there may be.
        gpu_hours: of all trials that have begun.
        best: the best trial that is done; None if there is none yet.
        is_cancelled: whether the user has cancelled it.
        stop_reason: why no other trial begins; empty if others may.
        damaged: lines of the tasks' logs that could not be read.
    """

    counts: Mapping[str, int]
    budget: int
    gpu_hours: float
    best: TrialState | None = None
    is_cancelled: bool = False
    stop_reason: str = ""
    damaged: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return self.counts["done"] + self.counts["pruned"] + self.counts["failed"]

    @property
    def waiting(self) -> int:
        """How many trials have not begun."""
        if self.is_cancelled or self.stop_reason:
            return 0
        return max(0, self.budget - self.ended - self.counts["running"])

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, by the files alone."""
        return self.is_cancelled or (self.waiting == 0 and self.counts["running"] == 0)


@dataclass(frozen=True)
class SweepFiles:
    """What a sweep's folder shows besides its logs.

    Args:
        more_trials: by how many the budget was raised.
        is_cancelled: whether the user has cancelled the sweep.
        stop: the text of its stop marker; None if it has none.
        now: unix time.
    """

    more_trials: int
    is_cancelled: bool
    stop: str | None
    now: float


def progress_of(settings: SweepSettings, state: SweepState, files: SweepFiles) -> SweepProgress:
    """How far a sweep is.

    Args:
        settings: the sweep's.
        state: the fold of its logs.
        files: what else its folder shows.
    """
    counts = Counter({"done": 0, "pruned": 0, "failed": 0, "running": 0})
    counts.update(trial.state for trial in state.trials.values())
    best = best_numbers(state, settings, 1)
    gpu_hours = used_gpu_hours(settings, state, files.now)
    stop_reason = ""
    if files.stop is not None:
        stop_reason = files.stop.strip() or "it was stopped by hand"
    elif settings.gpu_hours is not None and gpu_hours >= settings.gpu_hours:
        stop_reason = f"its {settings.gpu_hours:g} GPU-hours are used"
    return SweepProgress(
        counts=counts,
        budget=budget_of(settings, files.more_trials),
        gpu_hours=gpu_hours,
        best=state.trials[best[0]] if best else None,
        is_cancelled=files.is_cancelled,
        stop_reason=stop_reason,
        damaged=sorted(str(line) for line in state.damaged),
    )


def budget_of(settings: SweepSettings, more_trials: int) -> int:
    """How many trials there may be: a grid has no more than its points."""
    trials = settings.trials + more_trials
    if settings.method == "grid":
        return min(trials, grid_size(settings.space))
    return trials


def used_gpu_hours(settings: SweepSettings, state: SweepState, now: float) -> float:
    """The GPU-hours of all trials that have begun; of those that run, up to now.

    Args:
        settings: the sweep's.
        state: the fold of its logs.
        now: unix time.
    """
    seconds = 0.0
    for trial in state.trials.values():
        if trial.state == "running":
            seconds += now - (trial.claimed_at or now)
        else:
            seconds += trial.seconds
    return seconds * settings.gpus / settings.trials_per_gpu / 3600
