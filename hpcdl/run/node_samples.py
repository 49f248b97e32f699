"""The samples of all nodes of a run: each worker keeps those of its own node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract import run_files
from hpcdl.run.device_samples import Devices, Sample, newest_samples, read_devices
from hpcdl.run.paths import RunPaths
from hpcdl.run.worker_paths import WorkerPaths


@dataclass(frozen=True)
class NodeSamples:
    """What a node of a run did over time.

    Args:
        rank: the number of its worker, from 0.
        devices: what the run has of the node.
        samples: in order; at least one.
    """

    rank: int
    devices: Devices
    samples: Sequence[Sample]

    @property
    def name(self) -> str:
        """The node's name, or that of its worker."""
        return self.devices.node or f"worker {self.rank}"


def all_samples(paths: RunPaths) -> list[NodeSamples]:
    """All samples of a run, by node; nothing of a node that has none.

    Args:
        paths: the run.
    """
    return _of_nodes(paths, read_devices)


def last_samples(paths: RunPaths) -> list[NodeSamples]:
    """The newest samples of a run, by node, without reading whole files.

    Args:
        paths: the run.
    """
    return _of_nodes(paths, newest_samples)


def _of_nodes(
    paths: RunPaths, read: Callable[[Path], tuple[Devices, list[Sample]]]
) -> list[NodeSamples]:
    files = {0: paths.devices}
    for rank in _other_ranks(paths):
        files[rank] = WorkerPaths(paths.root, rank).devices
    nodes = []
    for rank, file in sorted(files.items()):
        devices, samples = read(file)
        if samples:
            nodes.append(NodeSamples(rank, devices, samples))
    return nodes


def _other_ranks(paths: RunPaths) -> list[int]:
    """The numbers of the workers that have a folder of their own."""
    try:
        names = [entry.name for entry in (paths.root / run_files.WORKERS).iterdir()]
    except OSError:
        return []  # a run on one node has none
    return [int(name) for name in names if name.isdecimal() and name.isascii()]
