"""A scaling report as one HTML file that needs no network, no JavaScript and no other file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcdl import formats
from hpcdl.report import svg
from hpcdl.report.page import render
from hpcdl.report.scale_text import HEADINGS, table_rows
from hpcdl.scaling.parts import ALL_REDUCE, INPUT, REST, SAVING, START, USEFUL, seconds_of_parts
from hpcdl.scaling.reading import ScaleReport
from hpcdl.scaling.sizes import Size, size_text

_LONGER_UNITS = ((60.0, "min"), (3600.0, "h"))
_FAR = 3  # times what the drawing of images a second needs: more than that would flatten it
_COLOURS = {USEFUL: 0, INPUT: 1, ALL_REDUCE: 3, REST: 6, SAVING: 2, START: 4}
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
        parts=_parts(sizes),
        colours=_COLOURS,
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
    lines, note = [rates, svg.Series("without a loss", ideal, 6)], ""
    alone = _points(sizes, lambda size: size.measured.input_rate)
    if alone and min(rate for _, rate in alone) > _FAR * ideal[-1][1]:
        slowest = min(rate for _, rate in alone)
        note = f"Input alone lies far above: {slowest:,.0f} images/s and more."
    else:
        lines.append(svg.Series("input alone", alone, 1))
    efficiency = _points(sizes, lambda size: 100 * size.efficiency)
    charts = [
        _chart("Images a second", lines, _short_number, note),
        _chart("Efficiency", [svg.Series("", efficiency, 0)], "{:g} %".format),
        _time_chart("Start", _points(sizes, lambda size: size.measured.start_s)),
        _time_chart("Time of the whole job", _points(sizes, lambda size: size.whole_s)),
        _chart(
            "GPU-hours of the whole job",
            [svg.Series("", _points(sizes, lambda size: size.whole_gpu_hours), 0)],
            "{:g}".format,
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _short_number(value: float) -> str:
    """A number as it fits at an axis: 950, 20k, 1.5M."""
    for unit, letter in ((1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1000 if letter == 'k' else unit):g}{letter}"
    return f"{value:g}"


def _time_chart(title: str, points: Sequence[tuple[float, float]]) -> dict[str, Any] | None:
    """A drawing of seconds, in the unit that fits the longest of them."""
    longest = max((value_s for _, value_s in points), default=0.0)
    unit_s, unit = 1.0, "s"
    for longer_s, name in _LONGER_UNITS:
        if longest >= 2 * longer_s:
            unit_s, unit = longer_s, name
    scaled = [(gpus, value_s / unit_s) for gpus, value_s in points]
    return _chart(title, [svg.Series("", scaled, 0)], f"{{:g}} {unit}".format)


def _chart(
    title: str, lines: Sequence[svg.Series], show: Callable[[float], str], note: str = ""
) -> dict[str, Any] | None:
    """A drawing over the number of GPUs; None without two points of a line."""
    drawn = [line for line in lines if len(line.points) > 1]
    if not drawn:
        return None
    drawing = svg.line_chart(
        f"{title} over the number of GPUs", drawn, show, floor=0.0, x_name="GPUs"
    )
    legend = drawn if len(lines) > 1 else []
    return {"title": title, "legend": legend, "svg": drawing, "note": note}


def _parts(sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """The whole job of each size, cut into its parts: a bar, and each part in words."""
    rows = []
    for size in sizes:
        seconds_of = seconds_of_parts(size)
        if not seconds_of:
            continue
        text = size_text(size.measured)
        cuts = [(part_s or 0.0, _COLOURS[name]) for name, part_s in seconds_of.items()]
        bar = svg.stacked_bar(f"Shares of the whole job's time with {text}", cuts)
        texts = [formats.seconds(part_s) for part_s in seconds_of.values()]
        rows.append({"name": text, "bar": bar, "texts": [*texts, formats.seconds(size.whole_s)]})
    return rows


def _points(sizes: Sequence[Size], value_of: _Value) -> list[tuple[float, float]]:
    points = []
    for size in sizes:
        value = value_of(size)
        if value is not None:
            points.append((float(size.measured.all_gpus), value))
    return points


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
