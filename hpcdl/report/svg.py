"""Drawings as inline SVG: line charts, a confusion matrix, a reliability diagram, a bar of shares.

Colours are classes of templates/report/style.css, which knows light, dark and print. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.report.evaluation import Bin

_WIDTH, _HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 22, 24, 40
_SHADES = 8
COLOURS = 8  # of lines


@dataclass(frozen=True)
class Series:
    """One line: its name, its points in order, and its number among the palette's colours."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most low to at least high, `most` of them or a few fewer."""
    span = high - low or abs(high) or 1.0
    rough = span / max(1, most - 1)
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    numbers = range(first, max(last, first + 1) + 1)
    return [float(f"{n * step:.12g}") for n in numbers]  # 0.3, not 0.30000000000000004


def line_chart(
    title: str,
    series: Sequence[Series],
    show: Callable[[float], str],
    mark: tuple[int, str] | None = None,
    floor: float | None = None,
    x_name: str = "epoch",
) -> Markup:
    """Lines over epochs.

    Args:
        title: what is drawn, for those who do not see it.
        series: the lines; one without points is left out.
        show: how a value of the y axis reads.
        mark: an epoch to mark, and its label.
        floor: the lowest y shown, where the axis must begin there.
    """
    series = [one for one in series if one.points]
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] or [0.0]
    y_ticks = ticks(min(ys) if floor is None else floor, max(ys))
    low, high = y_ticks[0], y_ticks[-1]
    first, last = (min(xs), max(xs)) if xs else (0, 1)

    def x_at(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((x - first) / (last - first) if last > first else 0.5)

    def y_at(y: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (y - low) / (high - low))

    parts = [_grid(y_ticks, y_at, show), _x_axis(first, last, x_at, x_name)]
    if mark is not None and first <= mark[0] <= last:
        parts.append(_marked(x_at(mark[0]), mark[1]))
    for one in series:
        at = [(x_at(x), y_at(y)) for x, y in one.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(_join(f'<polyline class="line c{one.colour}" points="{line}"/>'))
        if len(at) <= 30:
            dots = "".join(f'<circle class="dot c{one.colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for x, y in at)
            parts.append(Markup(dots))  # noqa: S704 - numbers alone
    return _svg(_WIDTH, _HEIGHT, title, parts)


def confusion_matrix(title: str, confusion: NDArray[Any], names: Sequence[str]) -> Markup:
    """Rows are classes, columns what they were taken for. Blue is right, orange wrong, darker is a larger share.

    Shares are of a row; those of mistakes are scaled to the largest one, or nothing would be seen of them. Up to 20
    classes each cell has its number, up to 40 each row its name; of more, every tenth its number.
    """
    count = len(confusion)
    cell = 40 if count <= 12 else 28 if count <= 20 else max(5, 560 // count)
    named = count <= 40
    if not named:
        names = [str(n) for n in range(count)]
    names = [name if len(name) <= 16 else name[:15] + "…" for name in names]
    left = 30 + 8 * max(len(name) for name in names)
    top = left if left > 60 else 40
    shares = confusion / confusion.sum(axis=1, keepdims=True).clip(1)
    largest = max((shares[i, j] for i in range(count) for j in range(count) if i != j), default=0) or 1
    shades: dict[str, list[str]] = {}
    numbers = []
    for i, j in zip(*confusion.nonzero(), strict=True):
        share = shares[i, j] if i == j else shares[i, j] / largest
        shade = math.ceil(share * _SHADES)
        shades.setdefault(f"{'right' if i == j else 'wrong'} s{shade}", []).append(f"M{j} {i}h1v1h-1z")
        if count <= 20:
            strong = " strong" if shade > 6 else ""
            x, y = left + (j + 0.5) * cell, top + (i + 0.5) * cell
            numbers.append(
                f'<text class="in{strong}" x="{x:.1f}" y="{y + 4:.1f}">{_short(int(confusion[i, j]))}</text>'
            )
    side = count * cell
    every = 1 if named else 10
    labels = []
    for n in range(0, count, every):
        at = (n + 0.5) * cell
        labels.append(Markup('<text class="end" x="{}" y="{:.1f}">{}</text>').format(left - 6, top + at + 4, names[n]))
        turned = f' transform="rotate(-90 {left + at + 4:.1f} {top - 6})"' if top > 60 else ""
        anchor = "" if turned else ' class="middle"'
        x = left + at + (4 if turned else 0)
        labels.append(_join(f'<text{anchor} x="{x:.1f}" y="{top - 6}"{turned}>') + escape(names[n]) + Markup("</text>"))
    frame = f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}"/>'
    grid = "".join(f'<path class="{name}" d="{"".join(cells)}"/>' for name, cells in sorted(shades.items()))
    cells = f'<g transform="translate({left} {top}) scale({cell})">{grid}</g>'
    middle = top + side / 2
    axes = (
        f'<text class="axis middle" x="{left + side / 2}" y="12">taken for</text>'
        f'<text class="axis middle" x="13" y="{middle}" transform="rotate(-90 13 {middle})">class</text>'
    )
    return _svg(left + side + 2, top + side + 2, title, [_join(frame, cells, *numbers, axes), *labels])


def reliability(title: str, bins: Sequence[Bin]) -> Markup:
    """Accuracy over confidence, a bar for each bin that has rows; on the dashed line they are equal."""
    span_x, span_y = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x_at(x: float) -> float:
        return _LEFT + span_x * x

    def y_at(y: float) -> float:
        return _TOP + span_y * (1 - y)

    marks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    bars = "".join(
        f'<rect class="bar c0" x="{x_at(one.low) + 2:.1f}" y="{y_at(one.accuracy):.1f}" '
        f'width="{span_x * (one.high - one.low) - 4:.1f}" height="{span_y * one.accuracy:.1f}"/>'
        for one in bins
    )
    ideal = f'<path class="ideal" d="M{x_at(0):.1f} {y_at(0):.1f}L{x_at(1):.1f} {y_at(1):.1f}"/>'
    parts = [_grid(marks, y_at, _share), _join(bars, ideal), _x_labels(marks, x_at, _share, "confidence")]
    return _svg(_WIDTH, _HEIGHT, title, parts)


def stacked_bar(title: str, values: Sequence[tuple[float, int]]) -> Markup:
    """One bar, cut into shares of (value, colour)."""
    total, at, parts = sum(value for value, _ in values) or 1.0, 0.0, []
    for value, colour in values:
        width = 1000 * value / total
        parts.append(f'<rect class="k{colour}" x="{at:.2f}" y="0" width="{width:.2f}" height="28"/>')
        at += width
    return _svg(1000, 28, title, [_join(*parts)], stretch=True)


def _short(rows: int) -> str:
    return str(rows) if rows < 10000 else f"{rows / 1000:.0f}k"


def _svg(width: float, height: float, title: str, parts: Sequence[Markup], stretch: bool = False) -> Markup:
    how = ' preserveAspectRatio="none"' if stretch else ""
    size = "" if stretch else f' style="max-width:{width:.0f}px"'
    opening = f'<svg role="img" viewBox="0 0 {width:.0f} {height:.0f}"{size}{how}>'
    return _join(opening) + Markup("<title>{}</title>").format(title) + Markup("").join(parts) + Markup("</svg>")


def _grid(values: Sequence[float], y_at: Callable[[float], float], show: Callable[[float], str]) -> Markup:
    lines = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="end" x="{}" y="{:.1f}">{}</text>').format(
            _LEFT, y_at(value), _WIDTH - _RIGHT, _LEFT - 8, y_at(value) + 4, show(value)
        )
        for value in values
    ]
    return Markup("").join(lines)


def _x_axis(first: float, last: float, x_at: Callable[[float], float], name: str) -> Markup:
    inside = [value for value in ticks(first, last, 8) if first <= value <= last and value == int(value)]
    return _x_labels(inside or [first], x_at, lambda value: f"{value:.0f}", name)


def _x_labels(
    values: Sequence[float], x_at: Callable[[float], float], show: Callable[[float], str], name: str
) -> Markup:
    texts = [
        Markup('<text class="middle" x="{:.1f}" y="{}">{}</text>').format(
            x_at(value), _HEIGHT - _BOTTOM + 17, show(value)
        )
        for value in values
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    axis = Markup('<text class="axis middle" x="{}" y="{}">{}</text>').format(middle, _HEIGHT - 6, name)
    return Markup("").join([*texts, axis])


def _marked(x: float, label: str) -> Markup:
    right = x > (_LEFT + _WIDTH) / 2
    line = f'<path class="mark" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
    text = Markup('<text class="mark-text{}" x="{:.1f}" y="{}">{}</text>')
    return _join(line) + text.format(" end" if right else "", x + (8 if right else -8), _TOP - 8, label)


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _join(*drawn: str) -> Markup:
    """Markup of our own that holds numbers and fixed words alone."""
    return Markup("".join(drawn))  # noqa: S704
