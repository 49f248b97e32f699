"""Several runs as one HTML page: their table, and their curves in one drawing."""

from __future__ import annotations

import json
from typing import Any

from hpcdl.formats import MISSING, several
from hpcdl.report import charts, metrics, svg
from hpcdl.report.comparable import takes_part, why_not
from hpcdl.report.comparison import Comparison
from hpcdl.report.facts import Facts
from hpcdl.report.page import render
from hpcdl.report.together import sentence

_MOST = 12  # drawings
_SETTINGS = ("learning_rate", "lr")  # a script may write them down, but does not measure them


def comparison_page(compared: Comparison) -> str:
    """The page of several runs."""
    differing = {}
    for key, values in compared.differences.items():
        differing[key] = [_shown(value) for value in values]
    mean = ""
    if compared.together:
        words = sentence(compared.together)
        mean = words[0].upper() + words[1:]
    return render(
        "compare.html.j2",
        compared=compared,
        charts=_charts(compared),
        differences=differing,
        together=mean,
    )


def _charts(compared: Comparison) -> list[dict[str, Any]]:
    """A drawing of each metric, with the curves of all runs; accuracy and loss come first."""
    names: dict[str, None] = dict.fromkeys(("accuracy", "loss"))
    for run in compared.runs:
        for name in metrics.pairs(metrics.names(run.epochs, run.is_script)):
            names[name] = None
    drawn = []
    for name in names:
        for unit in metrics.UNITS:
            chart = _chart(compared, name, unit)
            if chart is not None:
                drawn.append(chart)
    return drawn[:_MOST]


def _chart(compared: Comparison, name: str, unit: str) -> dict[str, Any] | None:
    """A metric of all runs that have it: in validation, if all of them were validated."""
    trained = _curves(compared, name, unit)
    validated = _curves(compared, f"val_{name}", unit)
    if validated.keys() >= trained.keys():
        part, curves = "validation", validated
    else:
        part, curves = "training", trained
    if not curves:
        return None
    lines = []
    for n, points in curves.items():
        lines.append(svg.Series(_label(compared, n), points, n % svg.COLOURS))
    title = name.replace("_", " ")
    if part == "validation" or name in ("loss", "accuracy"):  # another may be of a test
        title = f"{part.capitalize()} {title}"
    what = f"{title} of {several(len(lines), 'run')} over their {unit}s"
    note = ""
    if len(lines) > 1:
        runs = [compared.runs[n] for n in sorted({*trained, *validated})]
        note = _note(name, part, runs)
    return charts.chart(title, lines, name, what, note, unit)


def _curves(compared: Comparison, key: str, unit: str) -> dict[int, list[metrics.Point]]:
    """The points of a metric, by the places of the runs that have it."""
    curves = {}
    for n, run in enumerate(compared.runs):
        points = metrics.points(run.epochs, key, unit)
        if points:
            curves[n] = metrics.thinned(points)
    return curves


def _label(compared: Comparison, n: int) -> str:
    label, fold = compared.labels[n], compared.runs[n].fold
    if fold is None:
        return label
    return f"{label}, fold {fold}"


def _note(name: str, part: str, runs: list[Facts]) -> str:
    """Why curves in one drawing cannot be compared."""
    if name in _SETTINGS:
        return ""
    if any(run.is_script for run in runs):
        return "Not comparable: hpcdl does not know the data and the loss of a script."
    kind = part
    if name == "loss":
        kind = f"{part}_loss"
    reason = why_not(kind, [run for run in runs if takes_part(run)])
    if not reason:
        return ""
    return f"Not comparable: {reason}."


def _shown(value: Any) -> str:
    """A value of a job file as text."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    return json.dumps(value)
