"""Several runs as one HTML page: their table, and their curves in one drawing."""

from __future__ import annotations

import json
from typing import Any

from hpcdl.formats import several
from hpcdl.report import charts, metrics, svg
from hpcdl.report.comparable import takes_part, why_not
from hpcdl.report.comparison import Comparison
from hpcdl.report.facts import Facts
from hpcdl.report.page import render

_MOST = 12  # drawings
_SETTINGS = ("learning_rate", "lr")  # which a script may write down; nothing that it measured


def comparison_page(compared: Comparison) -> str:
    """The page of several runs."""
    differing = {}
    for key, values in compared.differences.items():
        differing[key] = [_shown(value) for value in values]
    drawn = _charts(compared)
    return render("compare.html.j2", compared=compared, charts=drawn, differences=differing)


def _charts(compared: Comparison) -> list[dict[str, Any]]:
    """A drawing of each metric that several runs have, or any, accuracy and loss first."""
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
    """A metric of all runs that have it: of validation where all of them have that."""
    runs = []
    for n, run in enumerate(compared.runs):
        has = [key for key in (name, f"val_{name}") if metrics.points(run.epochs, key, unit)]
        if has:
            runs.append((n, run, has))
    validated = all(f"val_{name}" in has for _, _, has in runs)
    key, part = (f"val_{name}", "Validation") if validated else (name, "Training")
    lines = []
    for n, run, _ in runs:
        points = metrics.thinned(metrics.points(run.epochs, key, unit))
        if points:
            lines.append(svg.Series(_label(compared, n), points, n % svg.COLOURS))
    if not lines:
        return None
    title = f"{part} {name.replace('_', ' ')}"
    if not validated and name not in ("loss", "accuracy"):
        title = name.replace("_", " ")  # what is measured once need not be of the training
    what = f"{title} of {several(len(lines), 'run')} over their {unit}s"
    note = ""
    if len(lines) > 1:
        note = _note(name, part.lower(), [run for _, run, _ in runs])
    return charts.chart(title, lines, name, what, note, unit)


def _label(compared: Comparison, n: int) -> str:
    fold = compared.runs[n].fold
    return compared.labels[n] if fold is None else f"{compared.labels[n]}, fold {fold}"


def _note(name: str, part: str, runs: list[Facts]) -> str:
    """Why curves in one drawing cannot be compared."""
    if name in _SETTINGS:
        return ""
    if any(run.is_script for run in runs):
        return "Not comparable: hpcdl does not know the data and the loss of a script."
    kind = f"{part}_loss" if name == "loss" else part
    reason = why_not(kind, [run for run in runs if takes_part(run)])
    return f"Not comparable: {reason}." if reason else ""


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)
