"""The drawings of a run's curves, each with its title and its legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcdl import formats
from hpcdl.report import metrics, svg
from hpcdl.report.facts import Facts
from hpcdl.report.overfitting import Line, best_epoch

_MOST = 24  # metrics that are drawn
_MOST_DIGITS = 5  # of a number at the axis of a drawing


def curves(facts: Facts) -> list[dict[str, Any]]:
    """A drawing for each metric of the run, with its values in training and in validation."""
    lines = facts.epochs
    drawn = []
    for unit in metrics.UNITS:
        counted = metrics.counted_in(lines, unit)
        mark = None
        if unit == "epoch" and not facts.is_script:
            mark = _best_mark(facts)
        for name in metrics.pairs(metrics.names(counted, facts.is_script))[:_MOST]:
            drawn.append(_pair(counted, name, unit, mark))
    return drawn


def _best_mark(facts: Facts) -> tuple[int, str] | None:
    """The best epoch, and what is written at it."""
    best = best_epoch(facts.epochs, facts.result.get("best"))
    if best is None:
        return None
    return best[0], f"best: epoch {best[0]}"


def folds(facts: Facts) -> list[dict[str, Any]]:
    """Loss and accuracy in validation of all folds over each other."""
    charts = []
    for key in ("loss", "accuracy"):
        lines = []
        for n, (number, epochs) in enumerate(facts.folds.items()):
            points = metrics.points(epochs, f"val_{key}")
            if points:
                lines.append(svg.Series(f"fold {number}", points, n % svg.COLOURS))
        if lines:
            title = f"Validation {key} of {formats.several(len(lines), 'fold')}"
            charts.append(chart(title, lines, key))
    return charts


def epoch_times(facts: Facts) -> dict[str, Any] | None:
    """The seconds of each epoch."""
    if facts.is_script:
        return None
    times = svg.Series("seconds", metrics.points(facts.epochs, "seconds"), 0)
    if len(times.points) < 2:
        return None
    title = "Seconds of each epoch"
    drawing = svg.line_chart(title, [times], lambda value: f"{value:g} s", floor=0)
    return {"title": title, "legend": [], "svg": drawing, "note": ""}


def chart(
    title: str,
    lines: Sequence[svg.Series],
    name: str,
    what: str = "",
    note: str = "",
    unit: str = "epoch",
) -> dict[str, Any]:
    """A drawing of a metric.

    Args:
        title: what stands above it.
        lines: what is drawn.
        name: the metric, which says how its values read.
        what: the drawing in words, for those who do not see it; the title, if empty.
        note: what a reader must know to read it correctly.
        unit: what counts the points.
    """
    drawing = svg.line_chart(
        what or title,
        lines,
        axis(name, lines),
        floor=floor(name, lines),
        x_name=unit,
    )
    return {"title": title, "legend": lines, "svg": drawing, "note": note}


def axis(name: str, lines: Sequence[svg.Series]) -> Callable[[float], str]:
    """How values of a metric read at its axis."""
    if metrics.is_share(name, _values(lines)):
        return _percent
    return _number


def _percent(value: float) -> str:
    return f"{100 * value:g} %"


def _number(value: float) -> str:
    """A number that fits next to the axis: 0.5, 20000, 1e5, 2.5e-4."""
    text = f"{value:g}"
    if len(text.replace("-", "").replace(".", "")) <= _MOST_DIGITS:
        return text
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def floor(name: str, lines: Sequence[svg.Series]) -> float | None:
    """Where the axis of a metric begins: a loss at 0, unless it is below."""
    if "loss" in name and min(_values(lines), default=0.0) >= 0:
        return 0.0
    return None


def _pair(
    epochs: Sequence[Line],
    name: str,
    unit: str,
    mark: tuple[int, str] | None,
) -> dict[str, Any]:
    lines = []
    own = metrics.thinned(metrics.points(epochs, name, unit))
    validated = metrics.thinned(metrics.points(epochs, f"val_{name}", unit))
    # A script's single metric may be of its training or of its test: it keeps its own name.
    first = name
    if validated or name in ("loss", "accuracy"):
        first = "training"
    if own:
        lines.append(svg.Series(first, own, 0))
    if validated:
        lines.append(svg.Series("validation", validated, 1))
    title = name.replace("_", " ")
    title = title[:1].upper() + title[1:]
    drawn_of = " and ".join(line.name for line in lines)
    count = formats.several(len(epochs), unit)
    what = f"{title} of {drawn_of} over {count}"
    if first == name and own:
        what = f"{title} over {count}"
    drawing = svg.line_chart(
        what,
        lines,
        axis(name, lines),
        mark=mark,
        floor=floor(name, lines),
        x_name=unit,
    )
    legend = lines
    if len(lines) == 1 and first == name:
        legend = []
    return {"title": title, "legend": legend, "svg": drawing, "note": ""}


def _values(lines: Sequence[svg.Series]) -> list[float]:
    values = []
    for line in lines:
        for _, value in line.points:
            values.append(value)
    return values
