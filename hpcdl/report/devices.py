"""What a run's GPUs, CPUs, memory and reading did: curves over its time, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.formats import listed, percent, several
from hpcdl.report import svg
from hpcdl.run.device_samples import Devices, Sample, Values, mean_of, merged
from hpcdl.run.device_summary import DeviceSummary, device_text, summary_of, summary_of_nodes
from hpcdl.run.idle_gpus import LITTLE_PERCENT
from hpcdl.run.node_samples import NodeSamples, all_samples
from hpcdl.run.paths import RunPaths

_MOST_POINTS = 200  # of a curve
_HOUR_S, _MINUTE_S = 3600, 60
_MIB_PER_GIB = 1024
_TELLING = 0.01  # a smaller share of the time is not worth a word


def device_curves(paths: RunPaths) -> dict[str, Any] | None:
    """The drawings of a run's samples, and sentences on them; None if it has none."""
    nodes = all_samples(paths)
    if not nodes:
        return None
    return {"charts": _charts(nodes), "sentences": _sentences(nodes, summary_of_nodes(nodes))}


def _charts(nodes: Sequence[NodeSamples]) -> list[dict[str, Any]]:
    longest_s = max(sum(sample.seconds for sample in node.samples) for node in nodes)
    unit_s, unit = (_HOUR_S, "hour") if longest_s >= 2 * _HOUR_S else (_MINUTE_S, "minute")
    curves = []
    for node in nodes:
        curves.append(_Curves(node.name if len(nodes) > 1 else "", _few(node.samples), unit_s))
    drawings = [
        ("Use of the GPUs", _by_gpu(curves, lambda sample: sample.use), "{:g} %"),
        ("Memory of the GPUs", _by_gpu(curves, _gpu_memory_gib), "{:g} GB"),
        ("Power of the GPUs", _by_gpu(curves, lambda sample: sample.power_w), "{:g} W"),
        ("Busy CPUs", _by_node(curves, lambda sample: [sample.cpus]), "{:g}"),
        ("Memory of all processes", _by_node(curves, _memory_gib), "{:g} GB"),
        ("Reading, MB/s", _by_node(curves, lambda sample: [sample.read_mb_s]), "{:g}"),
    ]
    charts = []
    for title, lines, form in drawings:
        if any(len(line.points) > 1 for line in lines):
            charts.append(_chart(title, lines, form.format, unit))
    return charts


@dataclass(frozen=True)
class _Curves:
    """The curves of one node.

    Args:
        node: its name; "" if the run has no other.
        samples: as many as a curve needs.
        unit_s: the seconds of a unit of time.
    """

    node: str
    samples: Sequence[Sample]
    unit_s: float

    def gpus(self, values_of: Callable[[Sample], Values]) -> int:
        """How many GPUs tell a value."""
        return max((len(values_of(sample)) for sample in self.samples), default=0)

    def points(
        self, values_of: Callable[[Sample], Values], number: int
    ) -> list[tuple[float, float]]:
        """The times, in units, and the values of one GPU, or of the node.

        Args:
            values_of: the values of a sample.
            number: the place of the value among them.
        """
        points, begin_s = [], 0.0
        for sample in self.samples:
            values = values_of(sample)
            value = values[number] if number < len(values) else None
            if value is not None:
                points.append(((begin_s + sample.seconds / 2) / self.unit_s, value))
            begin_s += sample.seconds
        return points

    def named(self, name: str) -> str:
        """The name of a line: with the node, if there are several."""
        return f"{self.node} {name}".strip()


def _few(samples: Sequence[Sample]) -> list[Sample]:
    """As many samples as a curve needs: neighbours are merged."""
    size = -(-len(samples) // _MOST_POINTS)
    return [merged(samples[start : start + size]) for start in range(0, len(samples), size)]


def _chart(
    title: str, lines: Sequence[svg.Series], show: Callable[[float], str], unit: str
) -> dict[str, Any]:
    drawing = svg.line_chart(f"{title} over time", lines, show, floor=0, x_name=unit)
    legend = lines if len(lines) > 1 else []
    return {"title": title, "legend": legend, "svg": drawing, "note": ""}


def _by_gpu(curves: Sequence[_Curves], values_of: Callable[[Sample], Values]) -> list[svg.Series]:
    """A line for each GPU; of more than there are colours for, a line for each node: the mean."""
    gpus = sum(node.gpus(values_of) for node in curves)
    if gpus > svg.COLOURS:
        return _by_node(curves, lambda sample: [_mean(values_of(sample))], "mean of the GPUs")
    lines: list[svg.Series] = []
    for node in curves:
        for number in range(node.gpus(values_of)):
            points = node.points(values_of, number)
            if points:
                lines.append(svg.Series(node.named(f"GPU {number}"), points, len(lines)))
    return lines


def _by_node(
    curves: Sequence[_Curves], values_of: Callable[[Sample], Values], name: str = ""
) -> list[svg.Series]:
    """A line for each node; of more than there are colours for, the first ones."""
    lines = []
    for number, node in enumerate(curves[: svg.COLOURS]):
        lines.append(svg.Series(node.named(name), node.points(values_of, 0), number))
    return lines


def _mean(values: Values) -> float | None:
    return mean_of(values, [1.0] * len(values))


def _gpu_memory_gib(sample: Sample) -> Values:
    return _in_gib(sample.gpu_memory_mb)


def _memory_gib(sample: Sample) -> Values:
    return _in_gib([sample.memory_mb])


def _in_gib(sizes_mb: Values) -> Values:
    return [None if size is None else size / _MIB_PER_GIB for size in sizes_mb]


def _sentences(nodes: Sequence[NodeSamples], summary: DeviceSummary) -> list[str]:
    """What the curves say."""
    text = device_text(summary.as_timing())
    sentences = [f"Means of the whole run: {text}."] if text else []
    for node in nodes:
        sentences += _gpus_of_node(node.devices)
    if len(nodes) > svg.COLOURS:
        sentences.append(f"Curves show the first {svg.COLOURS} of {len(nodes)} nodes.")
    if summary.gpu_use_percent is not None and summary.gpu_use_percent < LITTLE_PERCENT:
        sentences.append(
            f"The GPUs were idle most of the time: {summary.idle_gpu_hours or 0.0:.2f} of "
            f"{summary.sampled_gpu_hours or 0.0:.2f} GPU-hours. Compare the curves: busy CPUs or "
            "much reading mean that the input is slow; if both are low, the batches are small."
        )
    for reason, share in summary.held_back.items():
        if share >= _TELLING:
            sentences.append(f"{percent(share, 0)} of the GPUs' time was slowed by {reason}.")
    faulty = [name for node in nodes for name in _faulty(node, len(nodes) > 1)]
    if faulty:
        sentences.append(
            f"{listed(faulty)} had memory errors that could not be corrected: tell the site."
        )
    return sentences


def _gpus_of_node(devices: Devices) -> list[str]:
    """What GPUs a node has, and why they were not sampled."""
    gpus, sentences = devices.gpus, []
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
        where = f" on {devices.node}" if devices.nodes > 1 and devices.node else ""
        sentences.append(f"The GPUs{where} could not be sampled: {devices.problem}.")
    return sentences


def _faulty(node: NodeSamples, is_one_of_several: bool) -> list[str]:
    """The GPUs of a node that had memory errors."""
    where = f" of {node.name}" if is_one_of_several else ""
    errors = summary_of(node.samples).memory_errors
    return [f"GPU {number}{where}" for number, count in enumerate(errors) if count]
