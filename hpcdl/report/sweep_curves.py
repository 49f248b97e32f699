"""The drawings of a sweep's values: the metric of each trial over epochs, and the best so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hpcdl.files import read_json_lines
from hpcdl.formats import count, several
from hpcdl.report import charts, metrics, svg
from hpcdl.report.overfitting import is_number
from hpcdl.report.sweep_facts import SweepFacts
from hpcdl.report.sweep_spread import clamped, sample, spread
from hpcdl.run.epochs import read_epochs
from hpcdl.sweeps.state import TrialState

_CURVES = 240  # that are drawn
_BEST = 40  # of them the best ones
_POINTS = 60  # of a curve
_DOTS = 1500
_LABELS = {"done": "done", "pruned": "pruned", "failed": "failed", "running": "running"}


@dataclass(frozen=True)
class Curve:
    """The metric of one trial over its epochs or steps.

    Args:
        trial: whose it is.
        points: epoch or step, and value.
        unit: what counts the points.
    """

    trial: TrialState
    points: Sequence[metrics.Point]
    unit: str


def curves_drawing(facts: SweepFacts) -> dict[str, Any] | None:
    """The learning curves of the trials, the best one on top; None if there are none."""
    ranked = [*facts.best, *facts.in_state("running")]
    others = [trial for trial in facts.trials if trial not in ranked]
    chosen = sample([*ranked, *others], _BEST, _CURVES)
    curves = []
    for trial in chosen:
        curve = _curve(facts, trial)
        if curve.points:
            curves.append(curve)
    units = [unit for unit in metrics.UNITS if any(curve.unit == unit for curve in curves)]
    if not units:
        return None
    curves = [curve for curve in curves if curve.unit == units[0]]
    metric = facts.settings.metric
    show, floor, ends = _axis(facts, [y for curve in curves for _, y in curve.points], 10.0)
    plot, y_ticks = _plot([x for curve in curves for x, _ in curve.points], ends, floor)
    parts = [svg.grid(y_ticks, plot, show), svg.x_axis(plot, units[0])]
    best = facts.best[0].number if facts.best else None
    for curve in reversed(curves):
        parts.append(_line(curve, plot, curve.trial.number == best, facts.metric_text))
    what = f"{metric} of {several(len(curves), 'trial')} over {units[0]}s"
    return {
        "title": f"{metric} of each trial",
        "legend": _legend(curves, best),
        "svg": svg.drawing(svg.WIDTH, svg.HEIGHT, what, parts),
        "note": _left_out(len(facts.trials), len(chosen), curves, ends),
    }


def progress_drawing(facts: SweepFacts) -> dict[str, Any] | None:
    """The values of the trials in the order of their ends, and the best so far."""
    ended = sorted(facts.ranked, key=lambda trial: (trial.ended_at or 0.0, trial.number))
    if not ended:
        return None
    places = {trial.number: float(place) for place, trial in enumerate(ended, 1)}
    show, floor, ends = _axis(facts, [trial.value or 0.0 for trial in ended], 3.0)
    plot, y_ticks = _plot(list(places.values()), ends, floor)
    parts = [svg.grid(y_ticks, plot, show), svg.x_axis(plot, "trials that have ended")]
    dots = sample(ended, 0, _DOTS)
    for trial in dots:
        text = f"trial {trial.number}, {trial.state}: {facts.metric_text(trial.value)}"
        parts.append(_dot(plot, places[trial.number], trial.value or 0.0, trial.state, text))
    steps = _best_so_far(facts, ended)
    parts.append(_steps(plot, steps, float(len(ended))))
    note = ""
    if len(dots) < len(ended):
        note = f"{count(len(dots))} of {count(len(ended))} trials have a dot."
    return {
        "title": "Best so far",
        "legend": _dot_legend(ended),
        "svg": svg.drawing(svg.WIDTH, svg.HEIGHT, "Values in the order of their ends", parts),
        "note": note,
    }


def _best_so_far(facts: SweepFacts, ended: Sequence[TrialState]) -> list[metrics.Point]:
    """Where the best value of the trials that are done became better: place and value."""
    steps: list[metrics.Point] = []
    best: TrialState | None = None
    for place, trial in enumerate(ended, 1):
        is_better = best is None or facts.score(trial) > facts.score(best)
        if trial.state == "done" and trial.value is not None and is_better:
            best = trial
            steps.append((float(place), trial.value))
    return steps


def _curve(facts: SweepFacts, trial: TrialState) -> Curve:
    """A trial's values; of a cross-validation the mean over the folds that have the epoch."""
    paths = facts.paths.trial_run(trial.number)
    lines: Sequence[dict[str, Any]]
    if facts.run.is_script:
        lines = metrics.merged(read_json_lines(paths.metrics))
    else:
        lines = _means(read_epochs(paths), facts.settings.metric)
    for unit in metrics.UNITS:
        points = metrics.points(lines, facts.settings.metric, unit)
        if points:
            return Curve(trial, metrics.thinned(points, _POINTS), unit)
    return Curve(trial, [], "")


def _means(lines: Sequence[dict[str, Any]], metric: str) -> Sequence[dict[str, Any]]:
    if not any("fold" in line for line in lines):
        return lines
    values: dict[Any, list[float]] = {}
    for line in lines:
        if metrics.unit_of(line) == "epoch" and is_number(line.get(metric)):
            values.setdefault(line["epoch"], []).append(line[metric])
    means = []
    for epoch in sorted(values):
        means.append({"epoch": epoch, metric: sum(values[epoch]) / len(values[epoch])})
    return means


def _axis(
    facts: SweepFacts, values: list[float], reach: float
) -> tuple[Callable[[float], str], float | None, tuple[float, float]]:
    """How values read at the axis, where it must begin, and what it must reach."""
    metric = facts.settings.metric
    best_first = sorted(values, reverse=facts.settings.direction == "maximize")
    line = [svg.Series(metric, [(0.0, value) for value in values], 0)]
    return charts.axis(metric, line), charts.floor(metric, line), spread(best_first, reach)


def _plot(
    xs: Sequence[float], ends: tuple[float, float], floor: float | None
) -> tuple[svg.Plot, list[float]]:
    lowest = min(ends) if floor is None else floor
    y_ticks = svg.ticks(lowest, max(ends))
    return svg.Plot(min(xs), max(xs), y_ticks[0], y_ticks[-1]), y_ticks


def _line(
    curve: Curve, plot: svg.Plot, is_best: bool, show: Callable[[float | None], str]
) -> Markup:
    """A trial's curve with a dot at its end."""
    kind = "top" if is_best else curve.trial.state
    corners = []
    for x, y in curve.points:
        corners.append(f"{plot.x(x):.1f},{_y(plot, y):.1f}")
    last_x, last_y = curve.points[-1]
    trial = curve.trial
    text = f"trial {trial.number}, {trial.state}"
    if trial.value is not None:
        text += f": {show(trial.value)}"
    line = Markup('<polyline class="trial {}" points="{}"><title>{}</title></polyline>')
    dot = _dot(plot, last_x, last_y, kind, text)
    return line.format(kind, " ".join(corners), text) + dot


def _dot(plot: svg.Plot, x: float, y: float, kind: str, text: str) -> Markup:
    dot = Markup('<circle class="end-of {}" cx="{:.1f}" cy="{:.1f}" r="2.2"><title>{}</title>')
    return dot.format(kind, plot.x(x), _y(plot, y), text) + svg.joined("</circle>")


def _y(plot: svg.Plot, value: float) -> float:
    """Pixels from the top; a value beyond the axis lies at its end."""
    return plot.y(clamped(value, plot.y_low, plot.y_high))


def _steps(plot: svg.Plot, steps: Sequence[metrics.Point], last: float) -> Markup:
    if not steps:
        return Markup("")
    path = f"M{plot.x(steps[0][0]):.1f} {_y(plot, steps[0][1]):.1f}"
    for x, y in steps[1:]:
        path += f"H{plot.x(x):.1f}V{_y(plot, y):.1f}"
    return svg.joined(f'<path class="so-far" d="{path}H{plot.x(last):.1f}"/>')


def _legend(curves: Sequence[Curve], best: int | None) -> list[tuple[str, str]]:
    """The kinds of lines in the drawing: class and name."""
    legend = []
    states = {curve.trial.state for curve in curves if curve.trial.number != best}
    if any(curve.trial.number == best for curve in curves):
        legend.append(("trial top", f"trial {best}, the best"))
    for state, name in _LABELS.items():
        if state in states:
            legend.append((f"trial {state}", name))
    return legend


def _dot_legend(ended: Sequence[TrialState]) -> list[tuple[str, str]]:
    legend = [("so-far", "best of those that are done")]
    for state in ("done", "pruned"):
        if any(trial.state == state for trial in ended):
            legend.append((f"dot {state}", state))
    return legend


def _left_out(trials: int, chosen: int, curves: Sequence[Curve], ends: tuple[float, float]) -> str:
    """What the drawing does not show."""
    sentences = []
    if chosen < trials:
        sentences.append(
            f"Of {count(trials)} trials {count(chosen)} are drawn: the best {_BEST}, and others"
            " at equal distances."
        )
    empty = chosen - len(curves)
    if empty:
        sentences.append(f"{several(empty, 'trial')} wrote no value of the metric.")
    low, high = min(ends), max(ends)
    if any(not low <= y <= high for curve in curves for _, y in curve.points):
        sentences.append("Values that are very far away lie at the edge of the drawing.")
    return " ".join(sentences)
