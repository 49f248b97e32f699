"""Reads devices.jsonl: what a run's GPUs, CPUs, memory and reading did over time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hpcdl.files import read_json_lines
from hpcdl.run import kinds

_TAIL_BYTES = 64 * 1024  # hold the newest samples, also those of 16 GPUs

Values = Sequence[float | None]  # one for each GPU; None if it is not known


@dataclass(frozen=True)
class Gpu:
    """What a GPU is.

    Args:
        name: its model.
        memory_mb: its memory, in MiB; None if it is not known.
        power_limit_w: the power that it may draw, in watts; None if it is not known.
    """

    name: str = ""
    memory_mb: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True)
class Devices:
    """What a run has of its node.

    Args:
        node: the node's name.
        cpus: how many CPUs it may use.
        nodes: how many nodes it has.
        gpus: its GPUs, as far as a tool tells them.
        problem: why no tool tells of the GPUs; "" if one does, or there are none.
    """

    node: str = ""
    cpus: int = 0
    nodes: int = 1
    gpus: Sequence[Gpu] = ()
    problem: str = ""


@dataclass(frozen=True)
class Sample:
    """What happened in a stretch of time.

    Args:
        attempt: the run's attempt, from 1.
        time: when the stretch ended (unix time).
        seconds: how long it was.
        cpus: how many CPUs the run's processes kept busy, on average.
        memory_mb: the memory of all its processes, in MiB; of merged samples the most.
        read_mb_s: what they read from files, cached or not, in MiB a second.
        use: of each GPU, the percentage of time in which it computed anything.
        gpu_memory_mb: of each GPU, the memory in use, in MiB; of merged samples the most.
        power_w: of each GPU, the power it drew, in watts.
        held_back: why GPUs were slower than they can be: for each reason the seconds of each GPU.
        memory_errors: of each GPU, the memory errors that could not be corrected.
    """

    attempt: int
    time: float
    seconds: float
    cpus: float | None = None
    memory_mb: float | None = None
    read_mb_s: float | None = None
    use: Values = ()
    gpu_memory_mb: Values = ()
    power_w: Values = ()
    held_back: Mapping[str, Values] = field(default_factory=dict)
    memory_errors: Values = ()


_VALUES = kinds.list_of(kinds.or_none(kinds.amount))
_SAMPLE = kinds.object_with(
    {"attempt": kinds.whole, "time": kinds.moment, "seconds": kinds.amount},
    {
        "cpus": kinds.or_none(kinds.amount),
        "memory_mb": kinds.or_none(kinds.amount),
        "read_mb_s": kinds.or_none(kinds.amount),
        "use": _VALUES,
        "gpu_memory_mb": _VALUES,
        "power_w": _VALUES,
        "held_back": kinds.each(_VALUES),
        "memory_errors": _VALUES,
    },
)
_GPU = kinds.object_with(
    {},
    {
        "name": kinds.text,
        "memory_mb": kinds.or_none(kinds.amount),
        "power_limit_w": kinds.or_none(kinds.amount),
    },
)
_DEVICES = kinds.object_with(
    {"node": kinds.text},
    {"cpus": kinds.whole, "nodes": kinds.whole, "gpus": kinds.list_of(_GPU), "problem": kinds.text},
)


def read_devices(path: Path) -> tuple[Devices, list[Sample]]:
    """The devices of the last attempt, and all samples in order; none if there is no file."""
    return _content(read_json_lines(path))


def newest_samples(path: Path) -> tuple[Devices, list[Sample]]:
    """The devices and the last samples, by reading the first line and the end of a file alone."""
    lines: list[dict[str, Any]] = []
    with suppress(OSError), path.open("rb") as stream:
        texts = [stream.readline(_TAIL_BYTES)]
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(len(texts[0]), size - _TAIL_BYTES))
        texts += stream.read().splitlines()
        for line in texts:
            with suppress(ValueError, RecursionError):
                value = json.loads(line)
                if isinstance(value, dict):
                    lines.append(value)
    return _content(lines)


def _content(lines: Sequence[dict[str, Any]]) -> tuple[Devices, list[Sample]]:
    devices = Devices()
    samples = []
    for line in lines:
        values = kinds.usable(line, _SAMPLE)
        if values is not None:
            samples.append(_known_keys(Sample, values))
            continue
        values = kinds.usable(line, _DEVICES)
        if values is not None:
            gpus = tuple(_known_keys(Gpu, gpu) for gpu in values.get("gpus", ()))
            devices = _known_keys(Devices, {**values, "gpus": gpus})
    return devices, samples


def _known_keys(record: Any, values: Mapping[str, Any]) -> Any:
    fields = record.__dataclass_fields__
    return record(**{name: value for name, value in values.items() if name in fields})


def merged(samples: Sequence[Sample]) -> Sample:
    """Several samples, at least one, as one: means over their time, of memory the most."""
    if len(samples) == 1:
        return samples[0]
    lengths = [sample.seconds for sample in samples]

    def mean(values: Values) -> float | None:
        return mean_of(values, lengths)

    reasons: dict[str, Values] = {}
    for reason in sorted({reason for sample in samples for reason in sample.held_back}):
        columns = [sample.held_back.get(reason, ()) for sample in samples]
        reasons[reason] = _by_gpu(columns, _sum)
    return replace(
        samples[-1],
        seconds=sum(lengths),
        cpus=mean([sample.cpus for sample in samples]),
        memory_mb=_most([sample.memory_mb for sample in samples]),
        read_mb_s=mean([sample.read_mb_s for sample in samples]),
        use=_by_gpu([sample.use for sample in samples], mean),
        gpu_memory_mb=_by_gpu([sample.gpu_memory_mb for sample in samples], _most),
        power_w=_by_gpu([sample.power_w for sample in samples], mean),
        held_back=reasons,
        memory_errors=_by_gpu([sample.memory_errors for sample in samples], _most),
    )


def mean_of(values: Values, weights: Sequence[float]) -> float | None:
    """The weighted mean of the values that are known; None if none is."""
    total = weight = 0.0
    for value, part in zip(values, weights, strict=True):
        if value is not None:
            total += value * part
            weight += part
    return total / weight if weight else None


def _by_gpu(columns: Sequence[Values], fold: Callable[[Values], float | None]) -> Values:
    """One value for each GPU out of those of several samples."""
    return [fold(values) for values in zip_longest(*columns)]


def _most(values: Values) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: Values) -> float:
    return sum(value or 0.0 for value in values)
