"""Several runs as one HTML page: their table, and their curves in one drawing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hpcdl.report import svg
from hpcdl.report.comparison import Comparison
from hpcdl.report.page import points, render
from hpcdl.report.words import several


def comparison_page(compared: Comparison) -> str:
    """The page of several runs."""
    charts = [
        _chart(compared, "accuracy", "accuracy", lambda value: f"{100 * value:g} %", None),
        _chart(compared, "loss", "loss", lambda value: f"{value:g}", 0.0),
    ]
    return render(
        "compare.html.j2",
        compared=compared,
        charts=[chart for chart in charts if chart],
        differences={key: [_shown(value) for value in values] for key, values in compared.differences.items()},
    )


def _chart(
    compared: Comparison, key: str, title: str, show: Callable[[float], str], floor: float | None
) -> dict[str, Any] | None:
    """A metric of all runs: of validation where all have that, else of training."""
    validated = all(points(one.epochs, f"val_{key}") for one in compared.runs)
    chosen, part = (f"val_{key}", "Validation") if validated else (key, "Training")
    lines = [
        svg.Series(label, points(one.epochs, chosen), n % svg.COLOURS)
        for n, (label, one) in enumerate(zip(compared.labels, compared.runs, strict=True))
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    what = f"{part} {title} of {several(len(lines), 'run')} over their epochs"
    return {"title": f"{part} {title}", "legend": lines, "svg": svg.line_chart(what, lines, show, floor=floor)}


def _shown(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)
