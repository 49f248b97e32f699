"""How many trials a sweep may have, and whether its GPU-hours are enough for one."""

from __future__ import annotations

from hpcdl.errors import UserError
from hpcdl.run.estimate import Estimate
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SweepSubmitted


def check_more(paths: SweepPaths, trials: int) -> int:
    """How many trials a sweep has with some more.

    Args:
        paths: the sweep's.
        trials: how many more.

    Raises:
        UserError: its space has no more combinations.
        RunError: its folder is damaged.
    """
    settings = SweepSettings.read(paths)
    submitted = SweepSubmitted.read(paths)
    now = settings.trials
    if submitted is not None:
        now += submitted.more_trials
    size = settings.space.size
    if size is not None and now + trials > size:
        raise UserError(
            f"{paths.root} has {now} trials, and its space has {size} combinations: {trials} more"
            f" would be {now + trials}; expected at most {size - now} more; start another sweep"
            " with a larger space"
        )
    return now + trials


def check_gpu_hours(settings: SweepSettings, trial: Estimate | None) -> None:
    """Make sure that a sweep's GPU-hours are enough for one trial.

    Args:
        settings: the sweep's.
        trial: what one trial takes; None if nobody knows.

    Raises:
        UserError: they are not.
    """
    if settings.gpu_hours is None or trial is None:
        return
    if settings.gpu_hours < trial.gpu_hours:
        raise UserError(
            f"sweep.gpu_hours: got {settings.gpu_hours:g}, and one trial takes {trial};"
            f" expected at least {trial.gpu_hours:.2g}: give --gpu-hours {trial.gpu_hours:.2g} or"
            " more, or fewer epochs"
        )
