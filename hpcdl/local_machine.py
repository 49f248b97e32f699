"""What this machine has and lacks for a run without SLURM."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import which

from hpcdl import modules
from hpcdl.cluster.gpu_vendors import AMD, NVIDIA, VENDORS, GpuVendor
from hpcdl.cluster.schema import Cluster
from hpcdl.contract.machine import cpus
from hpcdl.errors import HpcdlError
from hpcdl.job import Job
from hpcdl.planning import Container, Plan

_AMD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")


def fit(job: Job, cluster: Cluster, notes: list[str]) -> tuple[Job, Cluster]:
    """The job and cluster with the CPUs and GPUs that are here; without GPUs the CPU stands in.

    Args:
        job: the job.
        cluster: the profile.
        notes: lines for the user; one is added if something changes.
    """
    gpus = visible_gpus(VENDORS[cluster.gpu_vendor])
    asked = job.resources.gpus
    if asked and not gpus and not cluster.emulate_gpus:
        notes.append(f"this machine has no GPU: {job.name} asks for {asked} and runs on the CPU")
        job = replace(job, resources=replace(job.resources, gpus=0))
    if job.resources.node_count.most > 1:
        notes.append(f"this machine is one node: {job.name} asks for {job.resources.nodes}")
        job = replace(job, resources=replace(job.resources, nodes=1))
    if (job.notify or cluster.notify).mail:
        notes.append("notify.mail is SLURM's mail: of a run on this machine there is none")
    job = replace(job, resources=replace(job.resources, cpus=None))
    node = replace(cluster.node, cpus=cpus(), gpus=gpus)
    return job, replace(cluster, node=node, scratch=None, clusters=None)


def visible_gpus(vendor: GpuVendor = NVIDIA) -> int:
    """How many GPUs of a maker the user may use here: by its variable, else the driver's devices.

    Args:
        vendor: the maker.
    """
    chosen = os.environ.get(vendor.variable)
    if chosen is not None:
        parts = [part.strip() for part in chosen.split(",")]
        return len([part for part in parts if part not in ("", "-1", "NoDevFiles")])
    if vendor.name == AMD.name:
        return _amd_gpus()
    names = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return len([name for name in names if name.isdigit()])


def _amd_gpus() -> int:
    """How many GPUs AMD's driver has: of its nodes, CPUs have the id 0."""
    count = 0
    for path in _AMD_NODES.glob("*/gpu_id"):
        with suppress(OSError):  # of a GPU that the job may not use
            count += path.read_text(encoding="ascii").strip() not in ("", "0")
    return count


def lacking(decided: Plan, container: Container) -> str | None:
    """What this machine lacks to run a plan's container, or None.

    The container command may come with the profile's modules.
    """
    if which(container.runtime) is None:
        why = _why_not_loaded(decided, container.runtime) if decided.modules.modules else ""
        if why is not None:
            return f"there is no {container.runtime} command here{why}"
    if not Path(container.image).exists():
        return f"the image {container.image} is not here"
    return None


def _why_not_loaded(decided: Plan, runtime: str) -> str | None:
    """Why the profile's modules do not bring the container command; None where they do."""
    try:
        done = modules.run(decided.module_lines(), ["bash", "-c", 'type -P "$0"', runtime])
    except HpcdlError as error:
        return f", and the profile's modules cannot be loaded: {error}"
    return ", with the profile's modules loaded" if done.returncode else None
