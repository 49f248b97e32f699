"""Which trials end early: ASHA and Hyperband's brackets. Pure.

Of all scores the higher one is better; NaN is worse than any number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bracket:
    """One of Hyperband's brackets.

    Args:
        first: the epoch of its first rung.
        trials: how many trials of a round belong to it.
    """

    first: int
    trials: int


def rungs(first: int, epochs: int, eta: int) -> list[int]:
    """The epochs at whose ends a trial may be pruned: first, first * eta, ... below the last epoch.

    Raises:
        ValueError: a number is too small.
    """
    _check(first, epochs, eta)
    levels = []
    level = first
    while level < epochs:
        levels.append(level)
        level *= eta
    return levels


def asha_prunes(score: float, others: Sequence[float], eta: int) -> bool:
    """Whether a trial ends at a rung: it is not among the best 1/eta of those that reached it.

    The stopping form: a trial goes on until others show that it is not among the best.
    Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020.

    Args:
        score: of this trial at the rung.
        others: of all other trials that have reached it.
        eta: one in eta goes on.
    """
    if math.isnan(score):
        return True
    reached = len(others) + 1
    if reached < eta:
        return False  # too few to compare with
    better = sum(other > score for other in others)
    return better >= max(1, reached // eta)


def brackets(first: int, epochs: int, eta: int) -> list[Bracket]:
    """Hyperband's brackets, the one that prunes first in front.

    Source: Li et al., Hyperband, JMLR 18 (2018) 185, algorithm 1: of s_max + 1 brackets the one
    with s rungs has ceil((s_max + 1) / (s + 1) * eta^s) trials.

    Args:
        first: epochs that the shortest trial gets.
        epochs: of a trial that is not pruned.
        eta: one in eta goes on at each rung.

    Raises:
        ValueError: a number is too small.
    """
    levels = len(rungs(first, epochs, eta))
    shares = []
    for number_of_rungs in range(levels, -1, -1):
        trials = -(-(levels + 1) * eta**number_of_rungs // (number_of_rungs + 1))
        shares.append(Bracket(first * eta ** (levels - number_of_rungs), trials))
    return shares


def bracket_of(number: int, shares: Sequence[Bracket]) -> int:
    """The place of a trial's bracket, by its number alone; round after round."""
    place_in_round = number % sum(bracket.trials for bracket in shares)
    for place, bracket in enumerate(shares):
        if place_in_round < bracket.trials:
            return place
        place_in_round -= bracket.trials
    raise AssertionError("a number below the sum belongs to a bracket")


def _check(first: int, epochs: int, eta: int) -> None:
    if first < 1:
        raise ValueError(f"first must be at least 1 epoch, not {first}")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs}")
    if eta < 2:
        raise ValueError(f"eta must be at least 2, not {eta}: one in eta trials goes on")
