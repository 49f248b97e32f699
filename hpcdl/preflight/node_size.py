"""Whether a node has what the job asks for, and the QoS allows one job that much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.site_rules import choices, nodes_of, partitions_of, qos_of
from hpcdl.scheduler.site import NodeShape

# By SLURM's names of resources: the unit in messages, and the job file's key
_RESOURCES = {
    "cpu": ("CPUs", "resources.cpus"),
    "gres/gpu": ("GPUs", "resources.gpus"),
    "mem": ("MB", "resources.memory_gb"),
    "node": ("nodes", "resources.nodes"),
}


@dataclass(frozen=True)
class _Request:
    """What a job asks of its node.

    Args:
        amounts: by SLURM's name of the resource; memory in MB.
        gpu_type: the type that its GPUs must have; None for any.
        nodes: how many such nodes it asks for, at least.
    """

    amounts: dict[str, int]
    gpu_type: str | None
    nodes: int = 1


def size(subject: Subject) -> Iterator[Finding]:
    """A node of the partition has the CPUs, GPUs and memory, and the QoS allows one job them."""
    request = _request(subject)
    nodes = nodes_of(subject)
    large_enough = [node for node in nodes if _fits(node, request)]
    if nodes and not large_enough:
        yield from _too_large(nodes, request)
    elif large_enough and not any(node.up for node in large_enough):
        names = [name for node in large_enough for name in node.names]
        cause = f"the nodes that are large enough are out of service ({choices(names)})"
        yield Finding(cause, "the job would wait for them; see sinfo -R", "cluster", blocks=False)
    elif large_enough:
        yield from _too_few(subject, large_enough, request.nodes)
    yield from _more_than_qos_allows(subject, request)


def _request(subject: Subject) -> _Request:
    plan, cluster = subject.plan, subject.cluster
    memory_mb = 0
    size = plan.size
    if size.memory_gb and cluster.memory_request != "none":
        memory_mb = int(size.memory_gb * 1024)
    gpus = size.gpus if size.gpus_granted else 0  # otherwise SLURM does not count GPUs
    amounts = {"cpu": size.cpus, "gres/gpu": gpus, "mem": memory_mb}
    return _Request(amounts, cluster.gpu_type, size.least_nodes or size.nodes)


def _too_few(subject: Subject, nodes: list[NodeShape], asked: int) -> Iterator[Finding]:
    """The job asks for more nodes than there are, or than its partitions allow."""
    if asked == 1:
        return
    count = sum(len(node.names) for node in nodes)
    limits = [partition.max_nodes for partition in partitions_of(subject)]
    known_limits = [limit for limit in limits if limit is not None]
    most = count
    cause = f"{asked} nodes are asked for, but {count} here are large enough"
    if known_limits and len(known_limits) == len(limits) and max(known_limits) < min(asked, count):
        most = max(known_limits)
        cause = f"{asked} nodes are asked for, but the partition allows {most}"
    if asked > most:
        yield Finding(cause, f"ask for at most {most}: resources.nodes", "job", "resources.nodes")


def _more_than_qos_allows(subject: Subject, request: _Request) -> Iterator[Finding]:
    amounts = {name: amount * request.nodes for name, amount in request.amounts.items()}
    amounts["node"] = request.nodes
    if request.gpu_type:  # a limit may be for one type only
        amounts[f"gres/gpu:{request.gpu_type}"] = amounts["gres/gpu"]
    limited: set[str] = set()
    for qos in qos_of(subject):
        for name, most in qos.most.items():
            if name not in limited and amounts.get(name, 0) > most:
                typed_gpus = (f"GPUs of type {request.gpu_type}", "resources.gpus")
                unit, key = _RESOURCES.get(name, typed_gpus)
                asked = f"{amounts[name]} {unit} are asked for"
                cause = f"{asked}, but QoS {qos.name} allows {most}"
                yield Finding(cause, f"ask for less: {key}, or use another QoS", "job", key)
            limited.add(name)  # SLURM takes the first limit that is set


def _fits(node: NodeShape, request: _Request) -> bool:
    has = _amounts(node, request.gpu_type)
    return all(has[name] >= amount for name, amount in request.amounts.items())


def _amounts(node: NodeShape, gpu_type: str | None) -> dict[str, int]:
    """What a node has, by SLURM's names of resources."""
    gpus = node.gpus.get(gpu_type, 0) if gpu_type else sum(node.gpus.values())
    return {"cpu": node.cpus, "gres/gpu": gpus, "mem": node.memory_mb}


def _too_large(nodes: list[NodeShape], request: _Request) -> Iterator[Finding]:
    """Each resource that no node has enough of. If there is none, no node has all of them."""
    one_is_too_large = False
    for name, amount in request.amounts.items():
        most = max(_amounts(node, request.gpu_type)[name] for node in nodes)
        if amount <= most:
            continue
        one_is_too_large = True
        unit, key = _RESOURCES[name]
        source, fix = "job", f"ask for at most {most}: {key}"
        if name == "gres/gpu" and request.gpu_type:
            unit = f"{unit} of type {request.gpu_type}"
            if not most:
                source, key, fix = "profile", "gpu_type", _other_gpu_type(nodes)
        cause = f"{amount} {unit} are asked for, but no node here has more than {most}"
        yield Finding(cause, fix, source, key)
    if not one_is_too_large:
        yield _too_large_together(nodes, request)


def _other_gpu_type(nodes: list[NodeShape]) -> str:
    types: set[str] = set()
    for node in nodes:
        types.update(gpu_type for gpu_type in node.gpus if gpu_type)
    if not types:
        return "leave gpu_type out"
    return f"use one of: --set cluster.gpu_type={choices(sorted(types))}"


def _too_large_together(nodes: list[NodeShape], request: _Request) -> Finding:
    sizes = set()
    for node in nodes:
        gpus = sum(node.gpus.values())
        sizes.add(f"{node.cpus} CPUs, {gpus} GPUs, {node.memory_mb} MB")
    amounts = request.amounts
    cpus, gpus, memory_mb = amounts["cpu"], amounts["gres/gpu"], amounts["mem"]
    cause = f"no node has {cpus} CPUs, {gpus} GPUs and {memory_mb} MB together"
    fix = f"the nodes here have: {'; '.join(sorted(sizes))}"
    return Finding(cause, fix, "job", "resources")
