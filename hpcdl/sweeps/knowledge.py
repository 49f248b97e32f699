"""What a suggestion may know of the other trials, and how trial.json notes it."""

from __future__ import annotations

from collections.abc import Sequence

from hpcdl.scheduler.arrays import expression_of
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.suggest import KnownTrial, score_of


def known_trials(state: SweepState, direction: str) -> list[KnownTrial]:
    """The trials that a suggestion learns from, by number.

    A trial that runs keeps others away from its parameters. One that was pruned counts with the
    value that it had. One that failed without a value says nothing.

    Args:
        state: the fold of all logs.
        direction: of the metric: ``maximize`` or ``minimize``.
    """
    known = []
    for number in sorted(state.trials):
        trial = state.trials[number]
        if trial.state == "running":
            known.append(KnownTrial(number, trial.params))
        elif trial.value is not None:
            known.append(KnownTrial(number, trial.params, score_of(trial.value, direction)))
    return known


def knew_of(known: Sequence[KnownTrial]) -> dict[str, str]:
    """The numbers of the trials that a suggestion knew, so that it can be made again.

    Returns:
        such as ``{"ended": "0-15,17", "running": "16"}``; an empty text if there are none.
    """
    ended = [trial.number for trial in known if trial.score is not None]
    running = [trial.number for trial in known if trial.score is None]
    return {"ended": _numbers(ended), "running": _numbers(running)}


def _numbers(numbers: Sequence[int]) -> str:
    if not numbers:
        return ""
    return expression_of(numbers)
