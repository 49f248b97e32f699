"""Follows a sweep to its end: a line for each trial that ends."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.cli.sweep_lines import trial_line
from hpcdl.formats import several
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.sweeps.folder import SweepPaths
    from hpcdl.sweeps.settings import SweepSettings
    from hpcdl.sweeps.state import SweepState

_LOOK_S = 1.0  # how often the logs are read


def follow_sweep(paths: SweepPaths) -> int:
    """Follow a sweep until none of its tasks waits or runs.

    Returns:
        the exit code: 0 if a trial is done and none is left in the hands of a task that has ended,
        130 if the user left by Ctrl-C, else 1.
    """
    from hpcdl.sweeps.settings import SweepSettings
    from hpcdl.sweeps.state import SweepState

    settings = SweepSettings.read(paths)
    state = SweepState()
    shown: set[int] = set()
    try:
        while True:
            are_alive = _are_alive(paths)  # asked first: what they have written is read then
            state.refresh(paths)
            _say_ends(state, settings, shown)
            if not are_alive:
                return _say_outcome(paths, settings)
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        see = hpcdl_command("status", paths.root)
        options.say(f"\nthe sweep continues without you; see: {see}")
        return 130


def _are_alive(paths: SweepPaths) -> bool:
    """Whether a task waits or runs, by what all of the user's commands know; else it is assumed."""
    from hpcdl.sweeps.living_tasks import living_tasks
    from hpcdl.sweeps.submitted import SweepSubmitted

    return living_tasks(paths, SweepSubmitted.read(paths), []).are_left is not False


def _say_ends(state: SweepState, settings: SweepSettings, shown: set[int]) -> None:
    for number in sorted(state.trials):
        if number not in shown and state.has_ended(number):
            shown.add(number)
            options.say(trial_line(state.trials[number], settings))


def _say_outcome(paths: SweepPaths, settings: SweepSettings) -> int:
    """Say how the sweep ended, and give the exit code."""
    from hpcdl.sweeps.best import counts_text
    from hpcdl.sweeps.keeping import best_numbers
    from hpcdl.sweeps.missing import whole_state

    state = whole_state(paths)
    best = best_numbers(state, settings, 1)
    see = hpcdl_command("status", paths.root)
    counts = Counter(trial.state for trial in state.trials.values())
    options.say(f"ended: {counts_text(state)}")
    if counts["running"]:
        options.say(f"tasks have ended with trials in hand; see: {see}")
        return 1
    if not best:
        options.say(f"no trial is done with a value of {settings.metric}; see why: {see}")
        return 1
    options.say(f"best: {trial_line(state.trials[best[0]], settings)}")
    if counts["failed"]:
        options.say(f"why {several(counts['failed'], 'trial')} failed: {see}")
    options.say(f"its job file: {hpcdl_command('sweep', 'best', paths.root)} > best.yaml")
    return 0
