"""Parallel coordinates as SVG: an axis for each parameter, a line for each trial.

The axes lie below each other, so that any number of them fits a phone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hpcdl.formats import cut
from hpcdl.report import svg
from hpcdl.report.sweep_spread import clamped, shade, spread
from hpcdl.sweeps.space import Dimension, FloatRange, Listed

_WIDTH = 460
_LEFT, _RIGHT = 14, 446  # of an axis
_FIRST, _STEP, _BELOW = 26, 68, 26
_CHARACTER = 6.4  # the width of one, at most, in the drawing's font
_LONGEST, _SHORTEST = 18, 5  # characters of a label
_SHIFT = 5.0  # how far lines through one listed value are apart, at most


@dataclass(frozen=True)
class Axis:
    """One axis.

    Args:
        name: written above it.
        place: where a value lies, from 0 to 1.
        labels: a place and a text each; the first two are the most important.
        is_listed: whether many trials have exactly the same place.
    """

    name: str
    place: Callable[[Any], float]
    labels: Sequence[tuple[float, str]]
    is_listed: bool = False


@dataclass(frozen=True)
class Course:
    """A trial's line.

    Args:
        number: the trial's.
        values: one for each axis from the top; one fewer of a trial without a value.
        text: what a reader sees who points at it.
    """

    number: int
    values: Sequence[Any]
    text: str


def parameter_axis(name: str, dimension: Dimension) -> Axis:
    """The axis of a parameter: logarithmic where its space is."""
    if isinstance(dimension, Listed):
        return _listed_axis(name, dimension)
    ends = (float(dimension.low), float(dimension.high))
    whole = not isinstance(dimension, FloatRange)
    if dimension.log:
        return Axis(name, _logarithmic(*ends), _labels(_powers(*ends), _logarithmic(*ends), _plain))
    numbers = svg.ticks(*ends)
    if whole:
        numbers = [number for number in numbers if number == int(number)]
    return Axis(name, _linear(*ends), _labels([*ends, *numbers], _linear(*ends), _plain))


def value_axis(name: str, best_first: Sequence[float], show: Callable[[float], str]) -> Axis:
    """The axis of the trials' values; the best end is on the right.

    Args:
        name: of the metric.
        best_first: the values, at least one, the best first.
        show: how a value reads.
    """
    best, worst = spread(best_first)
    if best == worst:
        return Axis(name, lambda value: 1.0, [(1.0, show(best))])
    place = _linear(worst, best)
    numbers = [worst, best]
    for number in svg.ticks(min(best, worst), max(best, worst)):
        numbers.append(number)
    labels = _labels(numbers, place, show)
    if worst != best_first[-1]:
        labels[0] = (0.0, f"{labels[0][1]} or worse")
    return Axis(name, lambda value: place(clamped(value, worst, best)), labels)


def parallel_coordinates(
    title: str, axes: Sequence[Axis], best_first: Sequence[Course], failed: Sequence[Course] = ()
) -> Markup:
    """The drawing; the best trial lies on top of the others.

    Args:
        title: what is drawn, for those who do not see it.
        axes: from top to bottom.
        best_first: the trials with a value, the best first.
        failed: trials that failed without a value.
    """
    height = _FIRST + _STEP * (len(axes) - 1) + _BELOW
    lines = []
    for place, course in enumerate(best_first):
        kind = f"q{shade(place, len(best_first))}"
        if place == 0:
            kind = "top"
        lines.append(_line(course, axes, kind))
    for course in failed:
        lines.append(_line(course, axes, "failed"))
    parts = [*reversed(lines)]
    for number, axis in enumerate(axes):
        parts.append(_drawn_axis(axis, _FIRST + _STEP * number))
    return svg.drawing(_WIDTH, height, title, parts)


def _line(course: Course, axes: Sequence[Axis], kind: str) -> Markup:
    corners = []
    for number, (axis, value) in enumerate(zip(axes, course.values, strict=False)):
        x = _x(axis.place(value))
        if axis.is_listed:
            x = clamped(x + _shift(course.number), _LEFT, _RIGHT)
        corners.append(f"{x:.1f},{_FIRST + _STEP * number}")
    line = Markup('<polyline class="trial {}" points="{}"><title>{}</title></polyline>')
    return line.format(kind, " ".join(corners), course.text)


def _shift(number: int) -> float:
    """A distance that differs from trial to trial and is spread evenly: the golden ratio."""
    return _SHIFT * (2 * (number * 0.6180339887 % 1) - 1)


def _drawn_axis(axis: Axis, y: float) -> Markup:
    rail = svg.joined(f'<path class="rail" d="M{_LEFT} {y}H{_RIGHT}"/>')
    name = Markup('<text class="key halo" x="{}" y="{}">{}</text>')
    parts = [rail, name.format(_LEFT, y - 9, axis.name)]
    template = Markup('<text class="halo{}" x="{:.1f}" y="{}">{}</text>')
    taken: list[tuple[float, float]] = []
    for place, text in axis.labels:
        x = _x(place)
        style, low, high = _box(x, len(text))
        parts.append(svg.joined(f'<path class="tick" d="M{x:.1f} {y - 3}V{y + 3}"/>'))
        if all(high + 6 < start or end + 6 < low for start, end in taken):
            taken.append((low, high))
            parts.append(template.format(style, x, y + 17, text))
    return Markup("").join(parts)


def _box(x: float, characters: int) -> tuple[str, float, float]:
    """How a label is anchored, so that it stays in the drawing, and its left and right end."""
    width = characters * _CHARACTER
    if x - width / 2 < 0:
        return "", x, x + width
    if x + width / 2 > _WIDTH:
        return " end", x - width, x
    return " middle", x - width / 2, x + width / 2


def _x(place: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * place


def _listed_axis(name: str, dimension: Listed) -> Axis:
    count = len(dimension.values)

    def place(value: Any) -> float:
        return ((dimension.index(value) or 0) + 0.5) / count

    room = int((_RIGHT - _LEFT) / count / _CHARACTER) - 1
    longest = min(_LONGEST, max(_SHORTEST, room))
    labels = []
    for value in dimension.values:
        labels.append((place(value), cut(_plain(value), longest)))
    return Axis(name, place, labels, is_listed=True)


def _linear(low: float, high: float) -> Callable[[Any], float]:
    return lambda value: (float(value) - low) / (high - low)


def _logarithmic(low: float, high: float) -> Callable[[Any], float]:
    return lambda value: math.log(float(value) / low) / math.log(high / low)


def _powers(low: float, high: float) -> list[float]:
    """Both ends, and the powers of ten between them."""
    numbers = [low, high]
    for exponent in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        numbers.append(10.0**exponent)
    return numbers


def _labels(
    numbers: Sequence[float], place: Callable[[Any], float], show: Callable[[float], str]
) -> list[tuple[float, str]]:
    """Each number that lies on the axis with its place."""
    labels = []
    for number in dict.fromkeys(numbers):
        if -1e-9 <= place(number) <= 1 + 1e-9:
            labels.append((clamped(place(number), 0.0, 1.0), show(number)))
    return labels


def _plain(value: Any) -> str:
    """A parameter's value at an axis."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value)
