"""More memory for a run that ran out of it: sbatch's option, within what a node here has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcdl.errors import RunError, SchedulerError, UserError
from hpcdl.scheduler.site import NodeShape, Site

_FACTOR = 1.5
_KEYS = ("mem", "mem-per-cpu", "mem-per-gpu")
_CPUS = "cpus-per-task"


@dataclass(frozen=True)
class MoreMemory:
    """The next request.

    Args:
        option: sbatch's, such as ``--mem=96000M``.
        words: for the user: what it was, what it is now.
    """

    option: str
    words: str


@dataclass(frozen=True)
class _Request:
    """What the run asks of its node now; memory in MB, None where it comes with the CPUs."""

    key: str
    memory_mb: float | None
    cpus: int
    gpus: int

    @property
    def share(self) -> int:
        """Into how many parts the option's number divides the job's memory."""
        return {"mem-per-cpu": self.cpus, "mem-per-gpu": max(1, self.gpus)}.get(self.key, 1)


def more_memory(
    plan: Mapping[str, Any], options: Sequence[str], site: Site, wanted_gb: float | None = None
) -> MoreMemory:
    """Half as much memory again as the run asks for, or what the user names.

    Args:
        plan: plan.json.
        options: sbatch's options that the run was sent with besides those of its script.
        site: SLURM's nodes.
        wanted_gb: what the user names, in GB of 1024^3 bytes.

    Raises:
        UserError: no node here has more.
        SchedulerError: SLURM says nothing of its nodes.
        RunError: plan.json is damaged.
    """
    request = _request(plan, options)
    nodes = _nodes(plan, site, request)
    if request.memory_mb is None:
        return _more_cpus(request, nodes, wanted_gb)
    most_mb = max(node.memory_mb for node in nodes)
    memory_mb = request.memory_mb * _FACTOR
    if wanted_gb is not None:
        memory_mb = wanted_gb * 1024
        if memory_mb > most_mb:
            raise UserError(
                f"--memory-gb {wanted_gb:g}: no node here has more than {_gb(most_mb)}; "
                "name less, or let the job need less (a smaller train.batch_size)"
            )
    elif request.memory_mb >= most_mb:
        raise _at_the_bound(f"{_gb(request.memory_mb)}, as much as a node here has")
    words = f"memory {_gb(request.memory_mb)} -> {_gb(min(memory_mb, most_mb))}"
    if memory_mb >= most_mb:
        words += ", all that a node here has"
    number = int(min(memory_mb, most_mb) / request.share)
    return MoreMemory(f"--{request.key}={number}M", words)


def _more_cpus(request: _Request, nodes: list[NodeShape], wanted_gb: float | None) -> MoreMemory:
    """Memory comes with the CPUs here: ask for more of these."""
    largest = max(nodes, key=lambda node: (node.memory_mb, node.cpus))
    mb_of_cpu = largest.memory_mb / largest.cpus
    cpus = math.ceil(request.cpus * _FACTOR)
    if wanted_gb is not None:
        cpus = math.ceil(wanted_gb * 1024 / mb_of_cpu)
        if cpus > largest.cpus:
            raise UserError(
                f"--memory-gb {wanted_gb:g}: no node here has more than {_gb(largest.memory_mb)}; "
                "name less, or let the job need less (a smaller train.batch_size)"
            )
    elif request.cpus >= largest.cpus:
        raise _at_the_bound(f"all {request.cpus} CPUs of a node, and with them its memory")
    cpus = min(cpus, largest.cpus)
    words = f"memory comes with the CPUs here: {request.cpus} -> {cpus} CPUs"
    words += f", about {_gb(mb_of_cpu * cpus)}"
    if cpus == largest.cpus:
        words += ", all that a node here has"
    return MoreMemory(f"--{_CPUS}={cpus}", words)


def _at_the_bound(has: str) -> UserError:
    return UserError(
        f"it had {has}: no more can be added; let the job need less "
        "(a smaller train.batch_size), or hpcdl retry RUN --force sends it as it was"
    )


def _request(plan: Mapping[str, Any], options: Sequence[str]) -> _Request:
    """What a run asks for: its script's options, and those that came before these last time."""
    directives = {str(key): str(value) for key, value in plan.get("directives", ())}
    for option in options:
        key, _, value = option.removeprefix("--").partition("=")
        directives[key] = value
    key = next((key for key in _KEYS if key in directives), _CPUS)
    try:
        request = _Request(key, None, int(directives.get(_CPUS, "1")), int(plan.get("gpus") or 0))
        if key == _CPUS:
            return request
        megabytes = float(directives[key].removesuffix("M"))  # as `planning` writes it
    except ValueError as error:
        raise RunError(f"plan.json is damaged ({error}): submit the job again") from error
    return replace(request, memory_mb=megabytes * request.share)


def _nodes(plan: Mapping[str, Any], site: Site, request: _Request) -> list[NodeShape]:
    """The nodes that the run may get.

    Raises:
        SchedulerError: SLURM names none.
    """
    named = str(dict(plan.get("directives", ())).get("partition", "")).split(",")
    names = set()
    for partition in site.partitions:
        if partition.name in named or (partition.default and named == [""]):
            names.add(partition.name)
    nodes = []
    for node in site.nodes:
        is_there = not names or bool(names & set(node.partitions))
        if is_there and sum(node.gpus.values()) >= request.gpus:
            nodes.append(node)
    if not nodes:
        raise SchedulerError(
            "SLURM names no node that this job may have: see scontrol show node, "
            "and name the memory in a new job (resources.memory_gb)"
        )
    return nodes


def _gb(megabytes: float) -> str:
    return f"{megabytes / 1024:.4g} GB"
