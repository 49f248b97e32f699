"""Lines of metrics.jsonl as curves and last values, of a model's training or of a user's script.

A script's line is an object with ``epoch`` or ``step`` (both are optional) and any other numbers.
A later line of the same epoch or step replaces an earlier one: an attempt that continues from a
checkpoint may repeat some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpcdl.formats import figure, percent
from hpcdl.report.overfitting import Line, is_number

Point = tuple[float, float]  # epoch or step, value

UNITS = ("epoch", "step")  # what counts the points of a curve, the first that a line has
_OF_THE_LINE = frozenset({"epoch", "step", "fold", "time"})
_OF_THE_LOOP = frozenset({"steps", "seconds", "images_per_s", "learning_rate"})
_SHARES = ("accuracy", "acc", "precision", "recall", "f1", "auc")


def merged(lines: Sequence[Line]) -> list[Line]:
    """The lines with each epoch or step once, in order; lines that have neither come last."""
    places: dict[tuple[int, float], Line] = {}
    others: list[Line] = []
    for line in lines:
        unit = unit_of(line)
        if unit is None:
            others.append(line)
            continue
        place = (UNITS.index(unit), float(line[unit]))
        places[place] = {**places.get(place, {}), **line}
    in_order = [places[place] for place in sorted(places)]
    return [*in_order, *others]


def unit_of(line: Line) -> str | None:
    """What counts a line: epoch, step, or nothing."""
    for unit in UNITS:
        if is_number(line.get(unit)):
            return unit
    return None


def counted_in(lines: Sequence[Line], unit: str) -> list[Line]:
    """The lines that a unit (epoch or step) counts."""
    return [line for line in lines if unit_of(line) == unit]


def names(lines: Sequence[Line], of_script: bool) -> list[str]:
    """The metrics in the lines, in the order in which they appear.

    Args:
        lines: of metrics.jsonl.
        of_script: whether a script wrote them; a training's own lines hold times and rates as well.
    """
    left_out = _OF_THE_LINE if of_script else _OF_THE_LINE | _OF_THE_LOOP
    in_order: dict[str, None] = {}
    for line in lines:
        for key, value in line.items():
            if key not in left_out and is_number(value):
                in_order[key] = None
    return list(in_order)


def pairs(metric_names: Sequence[str]) -> list[str]:
    """The metrics that get a drawing: val_loss lies in the drawing of loss."""
    bases: dict[str, None] = {}
    for name in metric_names:
        bases[name.removeprefix("val_")] = None
    return list(bases)


def last_values(lines: Sequence[Line]) -> dict[str, float]:
    """The last value of each metric of a script; NaN where the last one is not a number."""
    values: dict[str, float] = {}
    for name in names(lines, of_script=True):
        for line in lines:
            if name in line:
                values[name] = math.nan
                if is_number(line[name]):
                    values[name] = line[name]
    return values


def points(lines: Sequence[Line], key: str, unit: str = "epoch") -> list[Point]:
    """A metric's points over epochs or steps; a value that is not a number gives no point."""
    drawn = []
    for line in counted_in(lines, unit):
        if is_number(line.get(key)):
            drawn.append((float(line[unit]), float(line[key])))
    return drawn


def thinned(all_points: Sequence[Point], most: int = 1000) -> list[Point]:
    """Points for a drawing: if there are too many, only the extremes of each stretch, and the last.

    Args:
        all_points: the points, in order.
        most: how many points a drawing may have, about.
    """
    if len(all_points) <= most:
        return list(all_points)
    stretch = 2 * len(all_points) // most + 1
    chosen = []
    for start in range(0, len(all_points), stretch):
        part = all_points[start : start + stretch]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        chosen += sorted(ends)
    if chosen[-1] != all_points[-1]:
        chosen.append(all_points[-1])
    return chosen


def is_share(name: str, values: Sequence[float]) -> bool:
    """Whether a metric reads best in percent: an accuracy or its like, between 0 and 1."""
    words = name.lower().replace("-", "_").split("_")
    return bool(set(words) & set(_SHARES)) and all(0 <= value <= 1 for value in values)


def shown(name: str, value: float) -> str:
    """A metric's value for people."""
    return percent(value) if is_share(name, [value]) else figure(value)
