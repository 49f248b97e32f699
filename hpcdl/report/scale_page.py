"""A scaling report as one HTML file that needs no network, no JavaScript and no other file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcdl import formats
from hpcdl.report import svg
from hpcdl.report.page import render
from hpcdl.report.scale_text import HEADINGS, table_rows
from hpcdl.scaling.reading import ScaleReport
from hpcdl.scaling.sizes import Size
from hpcdl.scaling.verdict import size_text

_HOUR_S = 3600.0
_Value = Callable[[Size], "float | None"]


def scale_report(report: ScaleReport) -> str:
    """The page of a scaling report; sizes that have measured nothing are named."""
    sizes = report.verdict.sizes
    return render(
        "scale.html.j2",
        job=report.record.job,
        steps=report.record.steps,
        passes=report.record.passes,
        verdict=report.verdict,
        headings=HEADINGS,
        rows=table_rows(report),
        charts=_charts(sizes) if len(sizes) > 1 else [],
        starts=_starts(sizes),
        runs=[(_size_of(run), run.folder) for run in report.record.runs],
    )


def _size_of(run: Any) -> str:
    from hpcdl.scaling.sizes import Measured

    return size_text(Measured(run.gpus, run.nodes))


def _charts(sizes: Sequence[Size]) -> list[dict[str, Any]]:
    first = sizes[0].measured
    ideal = []
    for size in sizes:
        gpus = size.measured.all_gpus
        ideal.append((float(gpus), first.rate * gpus / first.all_gpus))
    rates = svg.Series("measured", _points(sizes, lambda size: size.measured.rate), 0)
    alone = svg.Series("input alone", _points(sizes, lambda size: size.measured.input_rate), 1)
    lines = [rates, svg.Series("without a loss", ideal, 6), alone]
    charts = [
        _chart("Images a second", lines, "{:,.0f}"),
        _chart(
            "Efficiency",
            [svg.Series("", _percents(sizes, lambda size: size.efficiency), 0)],
            "{:g} %",
        ),
        _chart("What is lost", _lost_lines(sizes), "{:g} %"),
        _chart("Start", [svg.Series("", _points(sizes, _start_s), 0)], "{:g} s"),
        _chart("Time of the whole job", [svg.Series("", _points(sizes, _hours), 0)], "{:g} h"),
        _chart(
            "GPU-hours of the whole job",
            [svg.Series("", _points(sizes, lambda size: size.whole_gpu_hours), 0)],
            "{:g}",
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _lost_lines(sizes: Sequence[Size]) -> list[svg.Series]:
    return [
        svg.Series("input", _percents(sizes, lambda size: size.input_lost), 1),
        svg.Series("all-reduce and the rest", _percents(sizes, lambda size: size.other_lost), 3),
        svg.Series("saving", _percents(sizes, lambda size: size.save_lost), 2),
    ]


def _percents(sizes: Sequence[Size], share_of: _Value) -> list[tuple[float, float]]:
    return [(gpus, 100 * share) for gpus, share in _points(sizes, share_of)]


def _chart(title: str, lines: Sequence[svg.Series], form: str) -> dict[str, Any] | None:
    """A drawing over the number of GPUs; None without two points of a line."""
    drawn = [line for line in lines if len(line.points) > 1]
    if not drawn:
        return None
    drawing = svg.line_chart(
        f"{title} over the number of GPUs", drawn, form.format, floor=0.0, x_name="GPUs"
    )
    legend = drawn if len(lines) > 1 else []
    return {"title": title, "legend": legend, "svg": drawing, "note": ""}


def _points(sizes: Sequence[Size], value_of: _Value) -> list[tuple[float, float]]:
    points = []
    for size in sizes:
        value = value_of(size)
        if value is not None:
            points.append((float(size.measured.all_gpus), value))
    return points


def _start_s(size: Size) -> float | None:
    return size.measured.start_s


def _hours(size: Size) -> float | None:
    return None if size.whole_s is None else size.whole_s / _HOUR_S


def _starts(sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """The parts of the start of each size."""
    names: dict[str, None] = {}
    for size in sizes:
        names.update(dict.fromkeys(size.measured.start_parts))
    rows = []
    for name in names:
        texts = [formats.seconds(size.measured.start_parts.get(name)) for size in sizes]
        rows.append({"name": name, "texts": texts})
    if rows:
        whole = [formats.seconds(size.measured.start_s) for size in sizes]
        rows.append({"name": "all", "texts": whole})
    return rows
