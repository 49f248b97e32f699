"""Rules on how a loss moves over the epochs, each true or false for a list of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

# Of the validation loss over its lowest value: over-fitting.
# Source: Prechelt, "Early Stopping - But When?", 1998: generalization loss GL with alpha = 5.
RISE = 0.05
FALL = 0.02  # of a loss below its lowest value before the last epochs: it still falls
NEAR = 0.10  # of the validation loss over its lowest value: still levelled off
WINDOW = 3  # points whose median smooths a curve
_DIVERGED = 1.5  # times its lowest value: the training loss has gone up for good
_SPAN = 0.2  # of the training loss's whole range, which that must be as well
_ZERO = 1e-3  # of a curve's highest value: what lies below counts as this


def lowest_at(values: Sequence[float]) -> int:
    """The place of the lowest value, the first of several."""
    return min(range(len(values)), key=values.__getitem__)


def last_fifth(values: Sequence[float]) -> int:
    """How many values the last fifth has, at least one."""
    return max(1, len(values) // 5)


def diverged(train: Sequence[float]) -> bool:
    """Whether a training loss ends far above its lowest value, for two values at least."""
    lowest = min(train)
    if lowest < 0 or min(train[-2:]) <= _DIVERGED * lowest:
        return False
    return train[-1] - lowest > _SPAN * (max(train) - lowest)


def overfits(train: Sequence[float], valid: Sequence[float]) -> bool:
    """Whether the validation loss has risen for good while the training loss went on falling.

    The rise must show in the unsmoothed values and in their medians, and be larger than every step
    downwards on the way: one lucky epoch, or one bad one at the end, is not over-fitting.
    """
    smooth, lowest = smoothed(valid), lowest_at(valid)
    if valid[-1] <= (1 + RISE) * _least(valid, valid[lowest]):
        return False
    if smooth[-1] <= (1 + RISE) * _least(valid, min(smooth)):
        return False
    if valid[-1] - valid[lowest] <= _largest_step([-value for value in valid[lowest:]]):
        return False
    if train[-1] >= (1 - FALL) * train[lowest]:
        return False
    return min(valid[-1], smooth[-1]) > train[-1]


def still_falls(values: Sequence[float]) -> bool:
    """Whether a loss ends clearly below all its values before the last fifth, and still falls.

    Over the last fifth it must fall by more than FALL, and by half of that over the last half of
    these. The fall must be larger than every step upwards in the last third (at least five
    values), or it may be chance.
    """
    window = last_fifth(values)
    if values[-1] > (1 + FALL / 2) * min(values):
        return False
    for length, share in ((window, FALL), ((window + 1) // 2, FALL / 2)):
        if values[-1] >= (1 - share) * min(values[:-length]):
            return False
    recent = values[-1 - max(5, len(values) // 3) :]
    return min(values[:-window]) - values[-1] > _largest_step(recent)


def is_level(values: Sequence[float]) -> bool:
    """Whether a loss ends near its lowest value, by its last value and by the median of three."""
    recent = max(values[-1], smoothed(values)[-1])
    return recent <= (1 + NEAR) * _least(values, min(values))


def smoothed(values: Sequence[float]) -> list[float]:
    """Each value's median with the two before it."""
    return [median(values[max(0, n - WINDOW + 1) : n + 1]) for n in range(len(values))]


def _least(values: Sequence[float], value: float) -> float:
    """A value to compare with, never 0: a share of 0 means nothing."""
    return max(value, _ZERO * max(values))


def _largest_step(values: Sequence[float]) -> float:
    """The largest step upwards from one value to the next; 0 if there is none."""
    largest = 0.0
    for before, after in pairwise(values):
        largest = max(largest, after - before)
    return largest
