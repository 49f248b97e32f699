"""Drawings as inline SVG: line charts, a reliability diagram, a bar of shares.

Colours are classes of templates/report/style.css, which knows light, dark and print.
All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from hpcdl.report.evaluation import Bin

WIDTH, HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 22, 24, 40
_PLOT_WIDTH = WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT = HEIGHT - _TOP - _BOTTOM
_MOST_DOTS = 30  # points of a line, up to which each is drawn as a dot as well
COLOURS = 8  # of lines


@dataclass(frozen=True)
class Series:
    """One line: its name, its points in order, and its number among the palette's colours."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


@dataclass(frozen=True)
class Plot:
    """The area of a chart, between the lowest and the highest value of each axis."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Pixels from the left edge of the drawing; a single value lies in the middle."""
        share = 0.5
        if self.x_high > self.x_low:
            share = (value - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + _PLOT_WIDTH * share

    def y(self, value: float) -> float:
        """Pixels from the top edge of the drawing."""
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return _TOP + _PLOT_HEIGHT * (1 - share)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most low to at least high, `most` of them or a few fewer."""
    span = high - low or abs(high) or 1.0
    step = _round_step(span / max(1, most - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    numbers = range(first, max(last, first + 1) + 1)
    return [float(f"{n * step:.12g}") for n in numbers]  # 0.3, not 0.30000000000000004


def _round_step(least: float) -> float:
    """The first of 1, 2, 5, 10, 20, 50, ... and 0.1, 0.2, 0.5, ... that is not less."""
    base = 10.0 ** math.floor(math.log10(least))
    for factor in (1, 2, 5):
        if base * factor >= least * 0.999:
            return base * factor
    return base * 10


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
        floor: the lowest y shown, if the axis must begin there.
        x_name: what the x axis counts.
    """
    xs: list[float] = []
    ys: list[float] = []
    for line in series:
        for x, y in line.points:
            xs.append(x)
            ys.append(y)
    xs, ys = xs or [0, 1], ys or [0.0]
    lowest = floor
    if lowest is None:
        lowest = min(ys)
    y_ticks = ticks(lowest, max(ys))
    plot = Plot(min(xs), max(xs), y_ticks[0], y_ticks[-1])
    parts = [grid(y_ticks, plot, show), x_axis(plot, x_name)]
    if mark is not None and plot.x_low <= mark[0] <= plot.x_high:
        parts.append(_marked(plot.x(mark[0]), mark[1]))
    for line in series:
        if line.points:
            parts.append(_line(line, plot))
    return drawing(WIDTH, HEIGHT, title, parts)


def reliability(title: str, bins: Sequence[Bin]) -> Markup:
    """Accuracy over confidence, a bar for each bin; on the dashed line they are equal."""
    plot = Plot(0, 1, 0, 1)
    marks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    bars = []
    for share in bins:
        width = _PLOT_WIDTH * (share.high - share.low) - 4
        height = _PLOT_HEIGHT * share.accuracy
        bars.append(
            f'<rect class="bar c0" x="{plot.x(share.low) + 2:.1f}" '
            f'y="{plot.y(share.accuracy):.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
    left, right, bottom, top = plot.x(0), plot.x(1), plot.y(0), plot.y(1)
    diagonal = f'<path class="ideal" d="M{left:.1f} {bottom:.1f}L{right:.1f} {top:.1f}"/>'
    labels = _x_labels(marks, plot, _percent, "confidence")
    parts = [grid(marks, plot, _percent), joined(*bars, diagonal), labels]
    return drawing(WIDTH, HEIGHT, title, parts)


def stacked_bar(title: str, values: Sequence[tuple[float, int]]) -> Markup:
    """One bar, cut into shares of (value, colour)."""
    total = sum(value for value, _ in values) or 1.0
    left, parts = 0.0, []
    for value, colour in values:
        width = 1000 * value / total
        place = f'x="{left:.2f}" y="0" width="{width:.2f}" height="28"'
        parts.append(f'<rect class="k{colour}" {place}/>')
        left += width
    return drawing(1000, 28, title, [joined(*parts)], stretch=True)


def drawing(
    width: float,
    height: float,
    title: str,
    parts: Sequence[Markup],
    stretch: bool = False,
) -> Markup:
    """The whole drawing.

    Args:
        width: in pixels.
        height: in pixels.
        title: what is drawn, for those who do not see it.
        parts: what is drawn.
        stretch: let it fill the width of the page.
    """
    style = f' style="max-width:{width:.0f}px"'
    if stretch:
        style = ' preserveAspectRatio="none"'
    opening = f'<svg role="img" viewBox="0 0 {width:.0f} {height:.0f}"{style}>'
    name = Markup("<title>{}</title>").format(title)
    return Markup("").join([joined(opening), name, *parts, Markup("</svg>")])


def joined(*texts: str) -> Markup:
    """Markup that we wrote: it holds only numbers and fixed words, nothing to escape."""
    return Markup("".join(texts))  # noqa: S704


def _line(line: Series, plot: Plot) -> Markup:
    """A line; with a dot for each point if there are few."""
    corners, dots = [], []
    for x, y in line.points:
        left, top = plot.x(x), plot.y(y)
        corners.append(f"{left:.1f},{top:.1f}")
        dots.append(f'<circle class="dot c{line.colour}" cx="{left:.1f}" cy="{top:.1f}" r="2.4"/>')
    if len(dots) > _MOST_DOTS:
        dots = []
    curve = f'<polyline class="line c{line.colour}" points="{" ".join(corners)}"/>'
    return joined(curve, *dots)


def grid(values: Sequence[float], plot: Plot, show: Callable[[float], str]) -> Markup:
    """A line across the chart at each value of the y axis, and the value on its left."""
    line = Markup('<path class="grid" d="M{} {:.1f}H{}"/>')
    label = Markup('<text class="end" x="{}" y="{:.1f}">{}</text>')
    lines = []
    for value in values:
        y = plot.y(value)
        lines.append(line.format(_LEFT, y, WIDTH - _RIGHT))
        lines.append(label.format(_LEFT - 8, y + 4, show(value)))
    return Markup("").join(lines)


def x_axis(plot: Plot, name: str) -> Markup:
    """Round numbers below the chart, whole ones if it spans more than one of them.

    Its first value if it spans none.
    """
    first, last = plot.x_low, plot.x_high
    is_short = 0 < last - first < 1
    values = []
    for x in ticks(first, last, 8):
        if first <= x <= last and (is_short or x == int(x)):
            values.append(x)
    return _x_labels(values or [first], plot, lambda value: f"{value:g}", name)


def _x_labels(
    values: Sequence[float],
    plot: Plot,
    show: Callable[[float], str],
    name: str,
) -> Markup:
    """Values below the chart, and what they are."""
    template = Markup('<text class="middle" x="{:.1f}" y="{}">{}</text>')
    labels = []
    for value in values:
        labels.append(template.format(plot.x(value), HEIGHT - _BOTTOM + 17, show(value)))
    axis = Markup('<text class="axis middle" x="{}" y="{}">{}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    labels.append(axis.format(middle, HEIGHT - 6, name))
    return Markup("").join(labels)


def _marked(x: float, label: str) -> Markup:
    """A vertical line with a label, on its left in the right half of the chart."""
    line = f'<path class="mark" d="M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>'
    style, shift = "", -8
    if x > (_LEFT + WIDTH) / 2:
        style, shift = " end", 8
    template = Markup('<text class="mark-text{}" x="{:.1f}" y="{}">{}</text>')
    return joined(line) + template.format(style, x + shift, _TOP - 8, label)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
