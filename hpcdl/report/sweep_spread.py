"""How the values of a sweep's trials are spread, and which of many trials are drawn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

SHADES = 6  # of colours, from the worst sixth to the best
_Item = TypeVar("_Item")


def spread(best_first: Sequence[float], reach: float = 3.0) -> tuple[float, float]:
    """The best value and the worst one that an axis should show.

    A few values that are very far away would leave no room for the others. The worst quarter of
    the values begins at some distance from the best one; the axis ends at a multiple of it.

    Args:
        best_first: the values, at least one, the best first.
        reach: this multiple.
    """
    best, worst = best_first[0], best_first[-1]
    quarter = best_first[(len(best_first) - 1) * 3 // 4]
    limit = best + reach * (quarter - best)
    if quarter != best and abs(worst - best) > abs(limit - best):
        return best, limit
    return best, worst


def clamped(value: float, one_end: float, other_end: float) -> float:
    """The value, or the end that is next to it."""
    return min(max(value, min(one_end, other_end)), max(one_end, other_end))


def shade(place: int, count: int) -> int:
    """The colour of a trial by its place among all, the best at 0: 5 for the best sixth."""
    return SHADES - 1 - place * SHADES // max(1, count)


def sample(items: Sequence[_Item], first: int, most: int) -> list[_Item]:
    """At most that many items, in their order: the first ones, and others at equal distances.

    Args:
        items: all of them.
        first: how many from the front are taken in any case.
        most: how many in all.
    """
    if len(items) <= most:
        return list(items)
    chosen = list(items[:first])
    rest = items[first:]
    count = most - first
    for number in range(count):
        chosen.append(rest[number * len(rest) // count])
    return chosen
