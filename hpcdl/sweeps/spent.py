"""What a sweep may have and what it has used: trials and GPU-hours. Pure."""

from __future__ import annotations

from contextlib import suppress

from hpcdl.errors import UserError
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.submitted import SweepSubmitted
from hpcdl.sweeps.suggest import grid_size


def budget_of(settings: SweepSettings, submitted: SweepSubmitted | None) -> int:
    """How many trials there may be: a grid has no more than its points.

    Args:
        settings: the sweep's.
        submitted: what was sent of it, which tells by how many trials it has grown.
    """
    trials = settings.trials
    if submitted is not None:
        trials += submitted.more_trials
    if settings.method == "grid":
        with suppress(UserError):
            trials = min(trials, grid_size(settings.space))
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
