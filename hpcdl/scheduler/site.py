"""What a SLURM site has and allows its user: partitions, nodes, QoS and associations, as scontrol and sacctmgr tell."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hpcdl import cache
from hpcdl.environment import submission_environment
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import clusters, slurm
from hpcdl.scheduler.gres import gpus_of

_CACHE = "slurm-site.json"
REMEMBERED_S = 600.0  # limits change rarely, and sacctmgr takes a third of a second each time
_OUT_OF_SERVICE = frozenset(
    ["DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "INVAL", "UNKNOWN"]
)
_NOT_SET = frozenset(["", "NONE", "N/A", "(null)", "UNLIMITED"])
MEMORY = (
    "SelectTypeParameters",
    "DefMemPerCPU",
    "DefMemPerNode",
    "MaxMemPerCPU",
    "MaxMemPerNode",
    "JobDefaults",
)
CONFIG = ("ClusterName", "JobRequeue", "KillWait", "SelectType", "SLURM_VERSION", "TmpFS", *MEMORY)


TRY_S = 60


class RefusedError(SchedulerError):
    """SLURM would not take a job."""


@dataclass(frozen=True)
class Partition:
    """A partition; ``memory`` is its own rules of `MEMORY`.

    ``accounts``, ``qos`` and ``groups`` are the names that it allows; an empty tuple allows all.
    ``hidden`` ones are not for everybody, and ``root_only`` ones are for the administrators.
    """

    name: str
    default: bool = False
    up: bool = True
    max_time_s: int | None = None
    max_nodes: int | None = None
    accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    own_qos: str | None = None
    memory: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    denied_accounts: tuple[str, ...] = ()
    denied_qos: tuple[str, ...] = ()
    hidden: bool = False
    root_only: bool = False
    needs_reservation: bool = False


@dataclass(frozen=True)
class NodeShape:
    """Nodes that are alike; ``gpus`` counts them by type, under "" where SLURM knows no type.

    CPUs and memory are what jobs may have: not what is kept for the system (CoreSpecCount, MemSpecLimit).
    ``up`` is False where none of them takes jobs now (down, drained); ``architecture`` is as uname tells it.
    """

    cpus: int
    memory_mb: int
    gpus: dict[str, int] = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    up: bool = True
    architecture: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Qos:
    """A quality of service; ``most`` is what one job may have at most: cpu, mem (MB), node, gres/gpu."""

    name: str
    max_wall_s: int | None = None
    most: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Association:
    """An account that the user may use, the QoS with it, and the account that is used where none is named."""

    account: str
    qos: tuple[str, ...] = ()
    default_qos: str | None = None
    partition: str | None = None
    max_wall_s: int | None = None
    default_account: str | None = None


@dataclass(frozen=True)
class Site:
    """All of it; ``config`` is what `CONFIG` lists of ``scontrol show config``, without what is not set.

    Where SLURM enforces no associations, or sacctmgr does not answer, ``qos`` and ``associations`` are None:
    nothing is known of them. Where it enforces no limits, they have none.
    """

    partitions: tuple[Partition, ...] = ()
    nodes: tuple[NodeShape, ...] = ()
    qos: tuple[Qos, ...] | None = None
    associations: tuple[Association, ...] | None = None
    config: dict[str, str] = field(default_factory=dict)


def read_site() -> Site:
    """Ask SLURM, or remember what it said in the last minutes.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    import msgspec

    known = cache.load(_CACHE)
    if known.get("of") == _whose() and _is_young(known.get("time")):
        try:
            return msgspec.convert(known.get("site"), Site)
        except msgspec.ValidationError:
            pass  # another version of hpcdl wrote it
    site = _ask()
    cache.store(_CACHE, {"of": _whose(), "time": time.time(), "site": asdict(site)})
    return site


def forget() -> None:
    """Ask anew the next time: what was refused may be allowed by then."""
    cache.forget(_CACHE)


def _is_young(asked: object) -> bool:
    return isinstance(asked, (int, float)) and 0 <= time.time() - asked < REMEMBERED_S


def _whose() -> list[str]:
    """One home may serve several clusters, and one login node too."""
    names = [slurm.user(), socket.gethostname(), os.environ.get("SLURM_CONF", "")]
    return [*names, clusters.asked()]


def _ask() -> Site:
    partitions = tuple(
        map(partition_of, _records(slurm.call(["scontrol", "show", "partition", "--oneliner"])))
    )
    nodes = alike(_records(slurm.call(["scontrol", "show", "node", "--oneliner"])))
    config = _config(slurm.call(["scontrol", "show", "config"]))
    kept = _set(config, CONFIG)
    enforced = set(config.get("AccountingStorageEnforce", "").lower().split(","))
    if not enforced & {"associations", "limits", "qos", "safe", "all"}:
        return Site(partitions, nodes, config=kept)
    show = ["sacctmgr", "--noheader", "--parsable2", "show"]
    mine = ["user", slurm.user(), "withassoc", f"cluster={config.get('ClusterName', '')}"]
    try:
        qos = slurm.call([*show, "qos", "format=Name,MaxWall,MaxTRES,MaxTRESPU,GrpTRES,Flags"])
        associations = slurm.call(
            [*show, *mine, "format=Account,QOS,DefaultQOS,Partition,MaxWall,DefaultAccount"]
        )
    except SchedulerError:
        return Site(partitions, nodes, config=kept)
    rows = tuple(qos_of(line) for line in qos.splitlines() if line)
    # A user of other clusters only has a line without an account.
    users = tuple(
        association_of(line) for line in associations.splitlines() if line.partition("|")[0]
    )
    if not enforced & {"limits", "safe", "all"}:
        rows = tuple(Qos(row.name) for row in rows)
        users = tuple(replace(row, max_wall_s=None) for row in users)
    return Site(partitions, nodes, rows, users, kept)


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
        memory=_set(record, MEMORY),
        groups=_names(record.get("AllowGroups", "")),
        denied_accounts=_names(record.get("DenyAccounts", "")),
        denied_qos=_names(record.get("DenyQos", "")),
        hidden=record.get("Hidden") == "YES",
        root_only=record.get("RootOnly") == "YES",
        needs_reservation=record.get("ReqResv") == "YES",
    )


def alike(records: list[dict[str, str]]) -> tuple[NodeShape, ...]:
    """Records of ``scontrol show node``, those of one shape together."""
    shapes: dict[tuple[Any, ...], list[str]] = {}
    for record in records:
        words = set(re.findall("[A-Z_]+", record.get("State", "")))
        if "FUTURE" in words:
            continue
        gpus = tuple(sorted(gpus_of(record.get("Gres", "")).items()))
        cpus = record.get("CPUEfctv") or record.get("CPUTot", "0")  # the former since SLURM 22.05
        memory_mb = int(record.get("RealMemory", 0)) - int(record.get("MemSpecLimit", 0))
        size = (int(cpus), memory_mb, gpus)
        where = (
            _names(record.get("Partitions", "")),
            not words & _OUT_OF_SERVICE,
            record.get("Arch", ""),
        )
        shapes.setdefault((*size, *where), []).append(record["NodeName"])
    return tuple(
        NodeShape(cpus, memory_mb, dict(gpus), partitions, up, architecture, tuple(names))
        for (cpus, memory_mb, gpus, partitions, up, architecture), names in shapes.items()
    )


def qos_of(line: str) -> Qos:
    """A line of ``sacctmgr show qos``: no job can have more than its user, or the QoS as a whole, may have."""
    name, wall, *limits, flags = (line.split("|") + [""] * 5)[:6]
    most: dict[str, int] = {}
    for limit in map(tres, limits):
        most.update({what: min(n, most.get(what, n)) for what, n in limit.items()})
    return Qos(name, seconds(wall), most, _names(flags))


def association_of(line: str) -> Association:
    """A line of ``sacctmgr show user withassoc``."""
    account, qos, default, partition, wall, first = (line.split("|") + [""] * 5)[:6]
    return Association(
        account, _names(qos), default or None, partition or None, seconds(wall), first or None
    )


def tres(text: str) -> dict[str, int]:
    """A TRES text as numbers, memory in MB: ``cpu=80,mem=500G,gres/gpu=4``."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        number = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", value)
        if number:
            factors = {"K": 1 / 1024, "G": 1024, "T": 1024**2, "P": 1024**3}
            factor = (
                factors.get(number[2], 1)
                if name == "mem"
                else 1000 ** " KMGTP".index(number[2] or " ")
            )
            found[name] = int(float(number[1]) * factor)
    return found


def seconds(text: str) -> int | None:
    """A time as SLURM prints limits, ``D-HH:MM:SS`` or ``HH:MM:SS`` or ``MM:SS`` or minutes; None for no limit."""
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


def try_script(script: str) -> str:
    """What ``sbatch --test-only`` says of a batch script: when and where it would start.

    Raises:
        RefusedError: SLURM would not take it; its own words.
        SchedulerError: SLURM did not answer.
    """
    environment = submission_environment(os.environ)
    done = slurm.answer(["sbatch", "--test-only"], environment, TRY_S, script)
    words = " ".join(
        re.sub(r"^sbatch: (error: )?", "", line) for line in done.stderr.splitlines()
    ).strip()
    if done.returncode == 0:
        return words
    if any(sign in words for sign in (slurm.NOT_REACHED, "Unable to contact", "timed out")):
        raise SchedulerError(f"sbatch --test-only got no answer: {words}")
    raise RefusedError(words.removeprefix("allocation failure: "))


def _records(text: str) -> list[dict[str, str]]:
    """Lines of ``NAME=value NAME=value``; a value may hold spaces and equal signs."""
    records = []
    for line in text.splitlines():
        words = re.split(r"\s+(?=[A-Z]\w*=)", line.strip())
        record = dict(word.split("=", 1) for word in words if "=" in word)
        if record:
            records.append(record)
    return records


def _config(text: str) -> dict[str, str]:
    """Lines of ``NAME   = value``."""
    return dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", text, re.MULTILINE))


def _names(text: str) -> tuple[str, ...]:
    if text.upper() in ("", "ALL", "(NULL)", "N/A", "NONE"):
        return ()
    return tuple(sorted(filter(None, text.split(","))))


def _some(text: str) -> str | None:
    return None if text in ("", "N/A", "(null)") else text


def _set(record: Mapping[str, str], keys: tuple[str, ...]) -> dict[str, str]:
    return {key: record[key] for key in keys if record.get(key, "") not in _NOT_SET}
