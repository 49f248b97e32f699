"""The watcher that samples what a program's GPUs, CPUs, memory and reading do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hpcdl.container import visible_gpus
from hpcdl.contract.machine import cpus
from hpcdl.launch.gpu_answers import GpuReading, chosen
from hpcdl.launch.gpu_reader import GpuReader
from hpcdl.launch.process_use import ProcessUse, use_of_tree
from hpcdl.planning import Plan
from hpcdl.run.device_samples import Devices, Gpu, Sample, Values, mean_of
from hpcdl.run.paths import RunPaths
from hpcdl.run.sample_file import SampleFile

EVERY_S = 15.0  # HPCDL_SAMPLE_S takes its place, for tests
_MOST_LOOKS = 10  # a stretch this many times too long was no sample: the job was suspended
_MIB = 1024**2


@dataclass(frozen=True)
class Sampled:
    """What is sampled.

    Args:
        attempt: the run's attempt, from 1.
        node: this node's name.
        nodes: how many nodes the run has.
        visible: which of the node's GPUs the program may use, by their names; None for all.
    """

    attempt: int
    node: str
    nodes: int = 1
    visible: str | None = None


class Sampler:
    """A watcher that adds a sample to a run's devices.jsonl every 15 seconds.

    A program that ends before the first one has no file. Nothing fails without samples: what
    cannot be read is not known, and a sample that cannot be written is lost.

    Args:
        file: where the samples go.
        sampled: what is sampled.
        reader: reads the GPUs; None if the program uses none.
    """

    def __init__(self, file: SampleFile, sampled: Sampled, reader: GpuReader | None) -> None:
        self._file = file
        self._sampled = sampled
        self._reader = reader
        self._every_s = sample_every_s()
        self._cpus = cpus()
        self._since: float | None = None
        self._use: ProcessUse | None = None
        self._readings: list[GpuReading] = []
        self._devices: Devices | None = None

    def look(self, now: float, pid: int) -> None:
        """Read the GPUs; if a sample is due, add it."""
        if self._reader is not None:
            self._readings += self._reader.read(now)
        if self._since is None:
            self._since, self._use = now, use_of_tree(pid)
        elapsed_s = now - self._since
        if 0 <= elapsed_s < self._every_s:
            return
        before, self._since = self._use, now
        self._use = use_of_tree(pid)
        readings, self._readings = self._readings, []
        if 0 < elapsed_s < _MOST_LOOKS * self._every_s and self._use is not None:
            sample = self._sample(now, elapsed_s, before, readings)
            with suppress(OSError):
                self._file.add(self._devices or self._named(()), sample)

    def close(self) -> None:
        """End what reads the GPUs."""
        if self._reader is not None:
            self._reader.close()

    def _sample(
        self,
        now: float,
        elapsed_s: float,
        before: ProcessUse | None,
        readings: Sequence[GpuReading],
    ) -> Sample:
        gpus = _by_gpu(chosen(readings, self._sampled.visible))
        if gpus or self._devices is None or not self._devices.gpus:
            self._devices = self._named([of_gpu[-1].gpu for of_gpu in gpus])
        busy = read_mb_s = memory_mb = None
        if before is not None and self._use is not None:
            # Less than before: a process has ended that nobody waited for
            busy = max(0.0, self._use.cpu_s - before.cpu_s) / elapsed_s
            memory_mb = self._use.memory_b / _MIB
            if self._use.read_b is not None and before.read_b is not None:
                read_mb_s = max(0, self._use.read_b - before.read_b) / elapsed_s / _MIB
        errors = _means(gpus, lambda reading: reading.memory_errors)
        return Sample(
            attempt=self._sampled.attempt,
            time=now,
            seconds=elapsed_s,
            cpus=busy,
            memory_mb=memory_mb,
            read_mb_s=read_mb_s,
            use=_means(gpus, lambda reading: reading.use),
            gpu_memory_mb=_means(gpus, lambda reading: reading.memory_mb),
            power_w=_means(gpus, lambda reading: reading.power_w),
            held_back=_held_back(gpus, elapsed_s),
            memory_errors=errors if any(errors) else (),
        )

    def _named(self, gpus: Sequence[Gpu]) -> Devices:
        problem = ""
        if self._reader is not None and not gpus:
            problem = self._reader.problem
        return Devices(self._sampled.node, self._cpus, self._sampled.nodes, tuple(gpus), problem)


def sampler_of(paths: RunPaths, plan: Plan, attempt: int, node: str) -> Sampler:
    """The sampler of a run's program on this node.

    Args:
        paths: the run.
        plan: its plan.
        attempt: the attempt's number, from 1.
        node: this node's name.
    """
    reader, visible = None, None
    if plan.size.gpus and not plan.size.emulate_gpus:
        visible = visible_gpus(plan, os.environ.get(plan.gpu_vendor.variable))
        reader = GpuReader(plan.gpu_vendor.name, sample_every_s())
    sampled = Sampled(attempt, node, plan.size.nodes, visible)
    return Sampler(SampleFile(paths.devices), sampled, reader)


def sample_every_s() -> float:
    """Seconds between two samples."""
    return float(os.environ.get("HPCDL_SAMPLE_S", EVERY_S))


def _by_gpu(readings: Sequence[GpuReading]) -> list[list[GpuReading]]:
    """The readings of each GPU, in the order of their numbers."""
    by_gpu: dict[str, list[GpuReading]] = {}
    for reading in readings:
        by_gpu.setdefault(reading.names[0], []).append(reading)
    order = sorted(by_gpu, key=lambda name: (len(name), name))
    return [by_gpu[name] for name in order]


def _means(
    gpus: Sequence[Sequence[GpuReading]], value: Callable[[GpuReading], float | None]
) -> Values:
    means = []
    for readings in gpus:
        values = [value(reading) for reading in readings]
        means.append(mean_of(values, [1.0] * len(values)))
    return means


def _held_back(gpus: Sequence[Sequence[GpuReading]], elapsed_s: float) -> dict[str, Values]:
    """For each reason the seconds of each GPU: the share of the readings that name it."""
    reasons: dict[str, None] = {}
    for readings in gpus:
        for reading in readings:
            reasons.update(dict.fromkeys(reading.held_back))
    held_back: dict[str, Values] = {}
    for reason in reasons:
        seconds: list[float | None] = []
        for readings in gpus:
            counted = sum(reason in reading.held_back for reading in readings)
            seconds.append(elapsed_s * counted / len(readings))
        held_back[reason] = seconds
    return held_back
