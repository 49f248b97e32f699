"""How many trials a sweep may have."""

from __future__ import annotations

from hpcdl.errors import UserError
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
