"""A scaling report in a terminal, and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hpcdl.contract.tables import aligned
from hpcdl.formats import MISSING, percent, seconds
from hpcdl.scaling.parts import seconds_of_parts
from hpcdl.scaling.reading import ScaleReport
from hpcdl.scaling.sizes import Size, size_text

HEADINGS = (
    "size",
    "images/s",
    "speed-up",
    "efficiency",
    "input alone",
    "lost to input",
    "all-reduce",
    "the rest",
    "saving",
    "start",
    "whole job",
    "GPU-hours",
)


def table_rows(report: ScaleReport) -> list[list[str]]:
    """A row of texts for each size, in the order of `HEADINGS`; what is not known is a dash."""
    rows = []
    for size in report.verdict.sizes:
        rows.append(_row(size))
    return rows


def text_lines(report: ScaleReport) -> list[str]:
    """What a person reads in a terminal."""
    verdict = report.verdict
    lines = list(verdict.sentences)
    rows = table_rows(report)
    if rows:
        lines += ["", *aligned([HEADINGS, *rows])]
    if verdict.missing:
        lines += ["", *(f"not measured: {text}" for text in verdict.missing)]
    if verdict.best is not None:
        lines += ["", f"recommended: {verdict.options}"]
    for change in verdict.changes:
        lines.append(f"to change: {change.text}{_with_options(change.options)}")
    return [_plain_text(line) for line in lines]


def plain(report: ScaleReport) -> dict[str, Any]:
    """The report for programs."""
    verdict = report.verdict
    sizes = []
    for size in verdict.sizes:
        values = asdict(size)
        measured = values.pop("measured")
        measured["images_per_s"] = size.measured.rate
        values.update(pays=size.pays, clear=size.is_clear, parts_s=seconds_of_parts(size))
        sizes.append({**measured, **values})
    best = None
    if verdict.best is not None:
        best = {"gpus": verdict.best.measured.gpus, "nodes": verdict.best.measured.nodes}
    return {
        "emulated": report.is_emulated,
        "sizes": sizes,
        "missing": list(verdict.missing),
        "best": best,
        "set": verdict.options,
        "sentences": [_plain_text(sentence) for sentence in verdict.sentences],
        "changes": [asdict(change) for change in verdict.changes],
    }


def _row(size: Size) -> list[str]:
    measured = size.measured
    gpu_hours = MISSING
    if size.whole_gpu_hours is not None and measured.gpus:
        gpu_hours = f"{size.whole_gpu_hours:.3g}"
    return [
        size_text(measured),
        f"{measured.rate:,.0f}",
        f"{size.speed_up:.2f}",
        percent(size.efficiency, 0),
        MISSING if measured.input_rate is None else f"{measured.input_rate:,.0f}",
        percent(size.input_lost, 0),
        percent(size.all_reduce_lost, 0),
        percent(size.other_lost, 0),
        percent(size.save_lost, 1),
        seconds(measured.start_s),
        seconds(size.whole_s),
        gpu_hours,
    ]


def _plain_text(text: str) -> str:
    """A text without the blanks that a page does not break at."""
    return text.replace("\u00a0", " ")


def _with_options(options: str) -> str:
    return f": {options}" if options else ""
