"""The nodes of a partition: their shapes, their GPUs, and the memory that jobs may have."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hpcdl.scheduler.site import NodeShape, Partition, Site

_GPU_SLICE = re.compile(r"\dg\.\d+gb")  # as in a100_3g.20gb: a part of a GPU
# A partition that sets one rule of a family does not take the other one from the site.
_RULE_FAMILIES = (("DefMemPerCPU", "DefMemPerNode"), ("MaxMemPerCPU", "MaxMemPerNode"))


def shapes_of(site: Site, partition: Partition) -> list[NodeShape]:
    """The nodes of a partition, with the memory that it lets jobs have."""
    rules = memory_rules(site, partition)
    shapes = []
    for shape in site.nodes:
        if partition.name in shape.partitions:
            limits_mb = memory_limits_mb(shape, rules).values()
            shapes.append(replace(shape, memory_mb=min([shape.memory_mb, *limits_mb])))
    return shapes


def memory_rules(site: Site, partition: Partition) -> dict[str, str]:
    """The site's configuration, in which the partition's own rules replace the site's."""
    rules = dict(site.config)
    for family in _RULE_FAMILIES:
        if any(name in partition.memory for name in family):
            for name in family:
                rules.pop(name, None)
    return rules | partition.memory


def memory_limits_mb(shape: NodeShape, rules: dict[str, str]) -> dict[str, int]:
    """How much of a node's memory a job may have, by the name of the rule that says so."""
    factors = {"MaxMemPerNode": 1, "MaxMemPerCPU": shape.cpus}
    limits_mb = {}
    for name, factor in factors.items():
        if rules.get(name, "").isdigit():
            limits_mb[name] = int(rules[name]) * factor
    return limits_mb


def gpus_in(site: Site, partition: Partition) -> int:
    """The number of GPUs in a partition."""
    gpus = 0
    for shape in shapes_of(site, partition):
        gpus += sum(shape.gpus.values()) * len(shape.names)
    return gpus


def most_common(shapes: list[NodeShape]) -> NodeShape | None:
    """The most common shape. Nodes with GPUs come first, then nodes in service."""
    by_size: dict[tuple[Any, ...], NodeShape] = {}
    for shape in shapes:
        size = (shape.cpus, shape.memory_mb, tuple(shape.gpus.items()))
        alike = by_size.get(size, replace(shape, names=()))
        names = alike.names + shape.names
        by_size[size] = replace(alike, names=names, up=alike.up or shape.up)

    def rank(shape: NodeShape) -> tuple[bool, bool, int]:
        return bool(shape.gpus), shape.up, len(shape.names)

    return max(by_size.values(), key=rank, default=None)


def main_gpu(shape: NodeShape) -> tuple[str, int]:
    """The type of GPU that a node has most of, and their number.

    Whole GPUs come before slices. The type is "" if SLURM does not know it.
    """

    def rank(item: tuple[str, int]) -> tuple[bool, int]:
        kind, count = item
        return not _GPU_SLICE.search(kind), count

    return max(shape.gpus.items(), key=rank, default=("", 0))


def node_value(shape: NodeShape) -> dict[str, Any]:
    """The value of a profile's key ``node``."""
    gpu_model, gpus = main_gpu(shape)
    node: dict[str, Any] = {"cpus": max(1, shape.cpus), "gpus": gpus}
    if shape.memory_mb >= 1024:  # SLURM says 1 MB if the site does not say
        node["memory_gb"] = shape.memory_mb // 1024
    if gpu_model:
        node["gpu_model"] = gpu_model
    return node


def describe_share(shape: NodeShape, shapes: list[NodeShape]) -> str:
    """How many nodes of a partition have a shape, and their names."""
    total = sum(len(other.names) for other in shapes)
    names = sorted(shape.names, key=len)
    if len(names) < total:
        share = f"{len(names)} of {total} nodes"
    elif total > 1:
        share = f"all {total} nodes"
    else:
        share = "1 node"
    which = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
    state = "" if shape.up else ", out of service now"
    return f"{share}, {which}{state}"
