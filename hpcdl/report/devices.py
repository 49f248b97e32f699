"""What a run's GPUs, CPUs, memory and reading did: curves over its time, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcdl.formats import listed, percent, several
from hpcdl.report import svg
from hpcdl.run.device_samples import Devices, Sample, Values, merged, read_devices
from hpcdl.run.device_summary import DeviceSummary, device_text, summary_of
from hpcdl.run.idle_gpus import LITTLE_PERCENT
from hpcdl.run.paths import RunPaths

_MOST_POINTS = 200  # of a curve
_HOUR_S, _MINUTE_S = 3600, 60
_MIB_PER_GIB = 1024
_TELLING = 0.01  # a smaller share of the time is not worth a word


def device_curves(paths: RunPaths) -> dict[str, Any] | None:
    """The drawings of a run's samples, and sentences on them; None if it has none."""
    devices, samples = read_devices(paths.devices)
    if not samples:
        return None
    points = _few(samples)
    return {"charts": _charts(points), "sentences": _sentences(devices, summary_of(samples))}


def _few(samples: Sequence[Sample]) -> list[Sample]:
    """As many samples as a curve needs: neighbours are merged."""
    size = -(-len(samples) // _MOST_POINTS)
    return [merged(samples[start : start + size]) for start in range(0, len(samples), size)]


def _charts(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    total_s = sum(sample.seconds for sample in samples)
    unit_s, unit = (_HOUR_S, "hour") if total_s >= 2 * _HOUR_S else (_MINUTE_S, "minute")
    times, end_s = [], 0.0
    for sample in samples:
        times.append((end_s + sample.seconds / 2) / unit_s)  # its middle
        end_s += sample.seconds
    uses = [sample.use for sample in samples]
    gpu_memory = [_in_gib(sample.gpu_memory_mb) for sample in samples]
    memory = [_in_gib([sample.memory_mb]) for sample in samples]
    drawings = [
        ("Use of the GPUs", _by_gpu(uses, times), "{:g} %"),
        ("Memory of the GPUs", _by_gpu(gpu_memory, times), "{:g} GB"),
        ("Power of the GPUs", _by_gpu([sample.power_w for sample in samples], times), "{:g} W"),
        ("Busy CPUs", _single([[sample.cpus] for sample in samples], times), "{:g}"),
        ("Memory of all processes", _single(memory, times), "{:g} GB"),
        ("Reading", _single([[sample.read_mb_s] for sample in samples], times), "{:g} MB/s"),
    ]
    charts = []
    for title, lines, form in drawings:
        if any(len(line.points) > 1 for line in lines):
            charts.append(_chart(title, lines, form.format, unit))
    return charts


def _chart(
    title: str, lines: Sequence[svg.Series], show: Callable[[float], str], unit: str
) -> dict[str, Any]:
    drawing = svg.line_chart(f"{title} over time", lines, show, floor=0, x_name=unit)
    legend = lines if len(lines) > 1 else []
    return {"title": title, "legend": legend, "svg": drawing, "note": ""}


def _by_gpu(columns: Sequence[Values], times: Sequence[float]) -> list[svg.Series]:
    """A line for each GPU; more than there are colours for are one line, their mean."""
    gpus = max((len(column) for column in columns), default=0)
    if gpus > svg.COLOURS:
        means = []
        for column in columns:
            values = [value for value in column if value is not None]
            means.append([sum(values) / len(values) if values else None])
        return [svg.Series(f"mean of {gpus} GPUs", _points(means, 0, times), 0)]
    lines = []
    for number in range(gpus):
        points = _points(columns, number, times)
        if points:
            lines.append(svg.Series(f"GPU {number}", points, number))
    return lines


def _single(columns: Sequence[Values], times: Sequence[float]) -> list[svg.Series]:
    return [svg.Series("", _points(columns, 0, times), 0)]


def _points(
    columns: Sequence[Values], number: int, times: Sequence[float]
) -> list[tuple[float, float]]:
    points = []
    for time, column in zip(times, columns, strict=True):
        value = column[number] if number < len(column) else None
        if value is not None:
            points.append((time, value))
    return points


def _in_gib(sizes_mb: Values) -> Values:
    return [None if size is None else size / _MIB_PER_GIB for size in sizes_mb]


def _sentences(devices: Devices, summary: DeviceSummary) -> list[str]:
    """What the curves say."""
    text = device_text(summary.as_timing())
    sentences = [f"Means of the whole run: {text}."] if text else []
    gpus = devices.gpus
    if gpus:
        limits = [gpu.power_limit_w for gpu in gpus if gpu.power_limit_w]
        memories = [gpu.memory_mb / _MIB_PER_GIB for gpu in gpus if gpu.memory_mb]
        parts = [f"{several(len(gpus), 'GPU')} ({gpus[0].name or 'of an unknown model'})"]
        if memories:
            parts.append(f"of {min(memories):.0f} GB")
        if limits:
            parts.append(f"that may draw {min(limits):.0f} W each")
        sentences.append(f"On {devices.node or 'its node'}: {' '.join(parts)}.")
    if devices.problem:
        sentences.append(f"The GPUs could not be sampled: {devices.problem}.")
    if summary.gpu_use_percent is not None and summary.gpu_use_percent < LITTLE_PERCENT:
        sentences.append(
            f"The GPUs were idle most of the time: {summary.idle_gpu_hours or 0.0:.2f} of "
            f"{summary.sampled_gpu_hours or 0.0:.2f} GPU-hours. Compare the curves: busy CPUs or "
            "much reading mean that the input is slow; if both are low, the batches are small."
        )
    for reason, share in summary.held_back.items():
        if share >= _TELLING:
            sentences.append(f"{percent(share, 0)} of the GPUs' time was slowed by {reason}.")
    faulty = [f"GPU {number}" for number, count in enumerate(summary.memory_errors) if count]
    if faulty:
        sentences.append(
            f"{listed(faulty)} had memory errors that could not be corrected: tell the site."
        )
    return sentences
