"""How much each parameter of a sweep matters, by the ranks of the trials' values. Pure.

The trials are put into groups by one parameter: its listed values, or up to five ranges with
equally many trials. The share of the variance of the ranks that lies between the groups, less
what chance alone would give, is the parameter's importance: 0 to 1.

Sources: Kruskal and Wallis, Use of Ranks in One-Criterion Variance Analysis, JASA 47 (1952);
the share (H - k + 1) / (n - k) of n trials in k groups: Tomczak and Tomczak, The need to report
effect size estimates revisited, Trends in Sport Sciences 21 (2014).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.sweeps.space import Dimension, Listed, Space

FEWEST = 12  # trials; with fewer nothing can be said
_MOST_GROUPS = 5
_PER_GROUP = 4  # trials of a range, at least
_Z_95 = 1.6449  # 95 % of a normal distribution lie below


@dataclass(frozen=True)
class Trial:
    """A trial with a value.

    Args:
        params: by key.
        score: higher is better; minus infinity if the value was never a number.
    """

    params: dict[str, Any]
    score: float


@dataclass(frozen=True)
class Group:
    """The trials with one value of a parameter, or in one range of it.

    Args:
        values: the listed value alone, or the lowest and the highest one of the range.
        trials: how many.
        mean_rank: of their scores; higher is better.
        median: of their scores.
    """

    values: tuple[Any, ...]
    trials: int
    mean_rank: float
    median: float


@dataclass(frozen=True)
class Importance:
    """What one parameter alone does to the value.

    Args:
        key: the parameter's.
        share: of the ranks' variance, 0 to 1; None if the trials cannot tell.
        is_clear: whether chance alone would do as much in less than 5 % of sweeps.
        best: the group with the highest mean rank; None without a share.
    """

    key: str
    share: float | None = None
    is_clear: bool = False
    best: Group | None = None


def importances(space: Space, trials: Sequence[Trial]) -> list[Importance]:
    """The importance of each parameter, the largest one first; equal ones by their keys.

    Args:
        space: what is searched.
        trials: those with a score; at least `FEWEST`, or nothing is said of any parameter.
    """
    measured = []
    ranks = mid_ranks([trial.score for trial in trials])
    for key in space.names:
        measured.append(_importance(key, space.dimensions[key], trials, ranks))
    return sorted(measured, key=lambda one: -1.0 if one.share is None else one.share, reverse=True)


def mid_ranks(scores: Sequence[float]) -> list[float]:
    """The rank of each score, 1 for the lowest; equal ones share the mean of their ranks."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    ranks = [0.0] * len(scores)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + 1 + end) / 2
        start = end
    return ranks


def _importance(
    key: str, dimension: Dimension, trials: Sequence[Trial], ranks: Sequence[float]
) -> Importance:
    if len(trials) < FEWEST:
        return Importance(key)
    places = _places_by_group(dimension, [trial.params.get(key) for trial in trials])
    trial_count, group_count = len(trials), len(places)
    if not 2 <= group_count <= trial_count // 2:
        return Importance(key)
    statistic = _kruskal_wallis(ranks, places)
    if statistic is None:
        return Importance(key)
    share = (statistic - group_count + 1) / (trial_count - group_count)
    groups = [_group(key, dimension, members, trials, ranks) for members in places]
    best = max(groups, key=lambda group: group.mean_rank)
    is_clear = statistic > _chi_square_95(group_count - 1)
    return Importance(key, min(1.0, max(0.0, share)), is_clear, best)


def _places_by_group(dimension: Dimension, values: Sequence[Any]) -> list[list[int]]:
    """The trials of each group, by their places, in the order of the parameter's values."""
    if isinstance(dimension, Listed) and not _is_long_list_of_numbers(dimension, len(values)):
        return _by_value(dimension, values)
    group_count = min(_MOST_GROUPS, len(values) // _PER_GROUP)
    distinct = sorted(set(values))
    groups: dict[int, list[int]] = {}
    ranks = mid_ranks(values)
    for place, value in enumerate(values):
        number = int(group_count * (ranks[place] - 0.5) / len(values))
        if len(distinct) <= group_count:
            number = distinct.index(value)
        groups.setdefault(number, []).append(place)
    return [groups[number] for number in sorted(groups)]


def _is_long_list_of_numbers(dimension: Listed, trial_count: int) -> bool:
    """Whether listed values are numbers, and too many to look at each by itself."""
    if len(dimension.values) * _PER_GROUP <= trial_count:
        return False
    return all(type(value) in (int, float) for value in dimension.values)


def _by_value(dimension: Listed, values: Sequence[Any]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for place, value in enumerate(values):
        number = dimension.index(value)
        if number is not None:
            groups.setdefault(number, []).append(place)
    return [groups[number] for number in sorted(groups)]


def _kruskal_wallis(ranks: Sequence[float], places: Sequence[Sequence[int]]) -> float | None:
    """H, corrected for ties; None if all ranks are equal."""
    mean = (len(ranks) + 1) / 2
    total = sum((rank - mean) ** 2 for rank in ranks)
    if total == 0:
        return None
    between = 0.0
    for members in places:
        group_mean = sum(ranks[place] for place in members) / len(members)
        between += len(members) * (group_mean - mean) ** 2
    return (len(ranks) - 1) * between / total


def _chi_square_95(freedom: int) -> float:
    """Below this value lie 95 % of a chi-square distribution.

    Source: Wilson and Hilferty, The Distribution of Chi-Square, PNAS 17 (1931).
    """
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + _Z_95 * math.sqrt(spread)) ** 3)


def _group(
    key: str,
    dimension: Dimension,
    members: Sequence[int],
    trials: Sequence[Trial],
    ranks: Sequence[float],
) -> Group:
    values = [trials[place].params[key] for place in members]
    scores = sorted(trials[place].score for place in members)
    middle = len(scores) // 2
    median = scores[middle]
    if len(scores) % 2 == 0:
        median = (scores[middle - 1] + scores[middle]) / 2
    different = {json.dumps(value, sort_keys=True) for value in values}
    shown: tuple[Any, ...] = (values[0],)
    if len(different) > 1:
        shown = (min(values), max(values))
    mean_rank = sum(ranks[place] for place in members) / len(members)
    return Group(shown, len(members), mean_rank, median)
