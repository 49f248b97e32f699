"""What a run's samples say together: means, peaks, and how much of its GPUs it left idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hpcdl.run.device_samples import Sample, mean_of
from hpcdl.run.node_samples import NodeSamples, all_samples
from hpcdl.run.paths import RunPaths
from hpcdl.run.result import Result

_MIB_PER_GIB = 1024
_HOUR_S = 3600
# The keys of result.json's timing; a key whose value is not known is missing there
KEYS = (
    "sampled_s",
    "sampled_nodes",
    "sampled_gpu_hours",
    "gpu_use_percent",
    "idle_gpu_hours",
    "gpu_memory_gb",
    "gpu_power_w",
    "cpus_busy",
    "memory_gb",
    "read_mb_s",
)


@dataclass(frozen=True)
class DeviceSummary:
    """What the samples of a run, or of a part of it, say together. None: it is not known.

    Args:
        sampled_s: the seconds that the samples cover.
        sampled_nodes: how many nodes the last attempt had; None if it had one. CPUs and reading
            are the mean of a node, and memory is that of the node with the most.
        sampled_gpu_hours: GPU-hours of which the use is known.
        gpu_use_percent: the share of time in which a GPU computed anything: the mean of all GPUs.
        idle_gpu_hours: GPU-hours in which they did not.
        gpu_memory_gb: the most memory in use on one GPU, in GiB.
        gpu_power_w: the power of a GPU, in watts: the mean of all.
        cpus_busy: how many CPUs were busy, on average.
        memory_gb: the most memory of all processes together, in GiB.
        read_mb_s: what they read, in MiB a second.
        use_by_gpu: of each GPU, its share of time in percent.
        held_back: for each reason why GPUs were slow, the share of their time (1 is all).
        memory_errors: of each GPU, its memory errors.
    """

    sampled_s: float = 0.0
    sampled_nodes: int | None = None
    sampled_gpu_hours: float | None = None
    gpu_use_percent: float | None = None
    idle_gpu_hours: float | None = None
    gpu_memory_gb: float | None = None
    gpu_power_w: float | None = None
    cpus_busy: float | None = None
    memory_gb: float | None = None
    read_mb_s: float | None = None
    use_by_gpu: Sequence[float | None] = ()
    held_back: Mapping[str, float] = field(default_factory=dict)
    memory_errors: Sequence[float] = ()

    def as_timing(self) -> dict[str, float]:
        """What result.json keeps of it."""
        timing = {}
        for key in KEYS:
            value = getattr(self, key)
            if value is not None:
                timing[key] = round(value, 4)
        return timing


def measured(paths: RunPaths) -> dict[str, float]:
    """What was measured of a run's devices, by `KEYS`; empty if nothing was.

    A run that has ended has it in its result; of one that goes on, the samples tell it.
    """
    result = Result.read(paths)
    if result is None or not result.is_complete:
        nodes = all_samples(paths)
        return summary_of_nodes(nodes).as_timing() if nodes else {}
    timing = result.keys.get("timing", {})
    return {key: timing[key] for key in KEYS if key in timing}


def summary_of(samples: Sequence[Sample]) -> DeviceSummary:
    """The summary of samples."""
    lengths = [sample.seconds for sample in samples]
    use_by_gpu, used_s, known_s = [], 0.0, 0.0
    for number in range(max((len(sample.use) for sample in samples), default=0)):
        gpu_used_s = gpu_known_s = 0.0
        for sample in samples:
            use = sample.use[number] if number < len(sample.use) else None
            if use is not None:
                gpu_used_s += sample.seconds * use / 100
                gpu_known_s += sample.seconds
        use_by_gpu.append(100 * gpu_used_s / gpu_known_s if gpu_known_s else None)
        used_s += gpu_used_s
        known_s += gpu_known_s
    memory_mb = [sample.memory_mb for sample in samples if sample.memory_mb is not None]
    gpu_memory_mb, powers, errors = [], [], [0.0] * len(use_by_gpu)
    for sample in samples:
        gpu_memory_mb += [value for value in sample.gpu_memory_mb if value is not None]
        powers.append(mean_of(sample.power_w, [1.0] * len(sample.power_w)))
        for number, count in enumerate(sample.memory_errors[: len(errors)]):
            errors[number] = max(errors[number], count or 0.0)
    return DeviceSummary(
        sampled_s=sum(lengths),
        sampled_gpu_hours=known_s / _HOUR_S if known_s else None,
        gpu_use_percent=100 * used_s / known_s if known_s else None,
        idle_gpu_hours=(known_s - used_s) / _HOUR_S if known_s else None,
        gpu_memory_gb=_in_gib(gpu_memory_mb),
        gpu_power_w=mean_of(powers, lengths),
        cpus_busy=mean_of([sample.cpus for sample in samples], lengths),
        memory_gb=_in_gib(memory_mb),
        read_mb_s=mean_of([sample.read_mb_s for sample in samples], lengths),
        use_by_gpu=use_by_gpu,
        held_back=_held_back(samples),
        memory_errors=errors,
    )


def summary_of_nodes(nodes: Sequence[NodeSamples]) -> DeviceSummary:
    """The summary of all nodes of a run, at least one. Its GPUs are those of all nodes in turn."""
    all_of_run = summary_of([sample for node in nodes for sample in node.samples])
    if len(nodes) == 1:
        return all_of_run
    each = [summary_of(node.samples) for node in nodes]
    attempts = [node.samples[-1].attempt for node in nodes]
    nodes_of_last = attempts.count(max(attempts))
    return replace(
        all_of_run,
        sampled_s=max(summary.sampled_s for summary in each),
        sampled_nodes=nodes_of_last if nodes_of_last > 1 else None,
        use_by_gpu=[use for summary in each for use in summary.use_by_gpu],
        memory_errors=[count for summary in each for count in summary.memory_errors],
    )


def device_text(timing: Mapping[str, float]) -> str:
    """What was measured, in a line: its GPUs 63 % busy, up to 12.3 GB of GPU memory, 4.1 CPUs busy.

    Args:
        timing: by `KEYS`; keys may be missing.
    """
    forms = {
        "gpu_use_percent": "GPUs {:.0f} % busy",
        "gpu_memory_gb": "up to {:.1f} GB of a GPU's memory",
        "gpu_power_w": "{:.0f} W a GPU",
        "cpus_busy": "{:.1f} CPUs busy",
        "memory_gb": "up to {:.1f} GB of memory",
        "read_mb_s": "{:.1f} MB/s read",
    }
    text = ", ".join(form.format(timing[key]) for key, form in forms.items() if key in timing)
    if text and "sampled_nodes" in timing:
        text += f" (on each of {timing['sampled_nodes']:.0f} nodes)"
    return text


def _held_back(samples: Sequence[Sample]) -> dict[str, float]:
    """For each reason the share of the GPUs' time."""
    all_s = sum(sample.seconds * len(sample.gpu_memory_mb) for sample in samples)
    shares: dict[str, float] = {}
    for sample in samples:
        for reason, seconds in sample.held_back.items():
            held_s = sum(value or 0.0 for value in seconds)
            if all_s:
                shares[reason] = shares.get(reason, 0.0) + held_s / all_s
    return shares


def _in_gib(sizes_mb: Sequence[float]) -> float | None:
    return max(sizes_mb) / _MIB_PER_GIB if sizes_mb else None
