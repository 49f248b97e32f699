"""Reads what scontrol and sacctmgr print of a site. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpcdl.scheduler.gres import gpus_of
from hpcdl.scheduler.site import (
    ASSOCIATION_JOBS,
    MEMORY,
    QOS_JOBS,
    Association,
    NodeShape,
    Partition,
    Qos,
)

_OUT_OF_SERVICE = frozenset(
    ["DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "INVAL", "UNKNOWN"]
)
_NOT_SET = frozenset(["", "NONE", "N/A", "(null)", "UNLIMITED"])
# What SLURM's suffixes mean: of memory in MB, of counts
_MEGABYTES = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
_THOUSANDS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "P": 1000**5}


def partition_of(record: Mapping[str, str]) -> Partition:
    """A record of ``scontrol show partition``."""
    max_nodes = record.get("MaxNodes", "")
    return Partition(
        name=record["PartitionName"],
        default=record.get("Default") == "YES",
        up=record.get("State", "UP") == "UP",
        max_time_s=seconds(record.get("MaxTime", "")),
        max_nodes=int(max_nodes) if max_nodes.isdigit() else None,
        accounts=_names(record.get("AllowAccounts", "")),
        qos=_names(record.get("AllowQos", "")),
        own_qos=_some(record.get("QoS", "")),
        memory=set_keys(record, MEMORY),
        groups=_names(record.get("AllowGroups", "")),
        denied_accounts=_names(record.get("DenyAccounts", "")),
        denied_qos=_names(record.get("DenyQos", "")),
        hidden=record.get("Hidden") == "YES",
        root_only=record.get("RootOnly") == "YES",
        needs_reservation=record.get("ReqResv") == "YES",
        exclusive=record.get("OverSubscribe") == "EXCLUSIVE",
    )


def alike(records: list[dict[str, str]]) -> tuple[NodeShape, ...]:
    """Records of ``scontrol show node``, those of one shape together."""
    names_by_shape: dict[tuple[Any, ...], list[str]] = {}
    shapes: dict[tuple[Any, ...], NodeShape] = {}
    for record in records:
        states = set(re.findall("[A-Z_]+", record.get("State", "")))
        if "FUTURE" in states:
            continue
        cpus = record.get("CPUEfctv") or record.get("CPUTot", "0")  # the former since SLURM 22.05
        shape = NodeShape(
            cpus=int(cpus),
            memory_mb=int(record.get("RealMemory", 0)) - int(record.get("MemSpecLimit", 0)),
            gpus=dict(sorted(gpus_of(record.get("Gres", "")).items())),
            partitions=_names(record.get("Partitions", "")),
            up=not states & _OUT_OF_SERVICE,
            architecture=record.get("Arch", ""),
        )
        key = tuple(map(str, vars(shape).values()))
        shapes[key] = shape
        names_by_shape.setdefault(key, []).append(record["NodeName"])
    return tuple(replace(shapes[key], names=tuple(names)) for key, names in names_by_shape.items())


def qos_of(line: str) -> Qos:
    """A line of ``sacctmgr show qos``.

    No job can have more than its user, or the QoS as a whole, may have: the lowest limit counts.
    """
    columns = line.split("|") + [""] * 5
    name, wall, *limits, flags = columns[:6]
    most: dict[str, int] = {}
    for limit in map(tres, limits):
        for resource, count in limit.items():
            most[resource] = min(count, most.get(resource, count))
    return Qos(name, seconds(wall), most, _names(flags), _counts(QOS_JOBS, columns[6:]))


def association_of(line: str) -> Association:
    """A line of ``sacctmgr show user withassoc``."""
    columns = line.split("|") + [""] * 5
    account, qos, default, partition, wall, first = columns[:6]
    return Association(
        account,
        _names(qos),
        default or None,
        partition or None,
        seconds(wall),
        first or None,
        _counts(ASSOCIATION_JOBS, columns[6:]),
    )


def tres(text: str) -> dict[str, int]:
    """A TRES text as numbers, memory in MB: ``cpu=80,mem=500G,gres/gpu=4``."""
    counts = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        number = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", value)
        if number:
            factors = _MEGABYTES if name == "mem" else _THOUSANDS
            counts[name] = int(float(number[1]) * factors[number[2]])
    return counts


def seconds(text: str) -> int | None:
    """A time limit as SLURM prints it, in seconds; None for no limit.

    Args:
        text: ``D-HH:MM:SS``, ``HH:MM:SS``, ``MM:SS`` or minutes.
    """
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text):
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        parts = [*parts, 0, 0][:3]  # D-HH, D-HH:MM
    elif len(parts) == 1:
        parts = [0, parts[0], 0]
    hours, minutes, rest_s = [0, *parts][-3:]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest_s


def read_records(text: str) -> list[dict[str, str]]:
    """Lines of ``NAME=value NAME=value``; a value may hold spaces and equal signs."""
    records = []
    for line in text.splitlines():
        words = re.split(r"\s+(?=[A-Z]\w*=)", line.strip())
        record = dict(word.split("=", 1) for word in words if "=" in word)
        if record:
            records.append(record)
    return records


def read_config(text: str) -> dict[str, str]:
    """Lines of ``NAME   = value``."""
    return dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", text, re.MULTILINE))


def _names(text: str) -> tuple[str, ...]:
    if text.upper() in ("", "ALL", "(NULL)", "N/A", "NONE"):
        return ()
    return tuple(sorted(filter(None, text.split(","))))


def _counts(keys: tuple[str, ...], columns: Sequence[str]) -> dict[str, int]:
    """The whole numbers among columns, by key; other columns are limits that are not set."""
    counts = {}
    for key, column in zip(keys, columns, strict=False):
        if column.isdigit():
            counts[key] = int(column)
    return counts


def _some(text: str) -> str | None:
    if text in ("", "N/A", "(null)"):
        return None
    return text


def set_keys(record: Mapping[str, str], keys: tuple[str, ...]) -> dict[str, str]:
    """The keys whose values are set, with these."""
    return {key: record[key] for key in keys if record.get(key, "") not in _NOT_SET}
