"""What a SLURM site has and allows its user: partitions, nodes, QoS and associations.

`slurm` starts the commands that tell it (scontrol, sacctmgr, sbatch --test-only); they are read
here.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
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
ARRAYS = ("MaxArraySize", "MaxJobCount", "SchedulerParameters")
CONFIG = (
    *("ClusterName", "JobRequeue", "KillWait", "SelectType", "SLURM_VERSION", "TmpFS"),
    *MEMORY,
    *ARRAYS,
)
# How many jobs there may be, in sacctmgr's words: Max* a user (PU) or an account (PA), Grp* all
QOS_JOBS = (
    "MaxJobsPU",
    "MaxSubmitJobsPU",
    "MaxJobsPA",
    "MaxSubmitJobsPA",
    "GrpJobs",
    "GrpSubmitJobs",
)
ASSOCIATION_JOBS = ("MaxJobs", "MaxSubmitJobs", "GrpJobs", "GrpSubmitJobs")
# What SLURM's suffixes mean: of memory in MB, of counts
_MEGABYTES = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
_THOUSANDS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "P": 1000**5}
TRY_S = 60


class RefusedError(SchedulerError):
    """SLURM would not take a job."""


@dataclass(frozen=True)
class Partition:
    """A partition.

    ``accounts``, ``qos`` and ``groups`` are the names that it allows; an empty tuple allows all.
    ``memory`` holds its own rules among `MEMORY`. A ``hidden`` one is not for everybody, and a
    ``root_only`` one is for administrators.
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
    """Nodes that are alike.

    CPUs and memory are what jobs may have, without what is kept for the system (CoreSpecCount,
    MemSpecLimit).

    Args:
        cpus: of one node.
        memory_mb: of one node.
        gpus: of one node, counted by type; the type is "" if SLURM knows none.
        partitions: the partitions that they are in.
        up: False if none of them takes jobs now (down, drained).
        architecture: as uname tells it.
        names: the names of the nodes.
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
    """A quality of service (QoS).

    Args:
        name: its name.
        max_wall_s: the longest job; None for no limit.
        most: what one job may have at most: cpu, mem (MB), node, gres/gpu.
        flags: its flags.
        jobs: those limits of `QOS_JOBS` that are set; a task of an array counts as a job.
    """

    name: str
    max_wall_s: int | None = None
    most: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    jobs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Association:
    """An account that the user may use.

    Args:
        account: its name.
        qos: the QoS that may be used with it.
        default_qos: the QoS of a job that names none.
        partition: the only partition that this holds for; None for all.
        max_wall_s: the longest job; None for no limit.
        default_account: the user's account for jobs that name none.
        jobs: those limits of `ASSOCIATION_JOBS` that are set; a task of an array counts as a job.
    """

    account: str
    qos: tuple[str, ...] = ()
    default_qos: str | None = None
    partition: str | None = None
    max_wall_s: int | None = None
    default_account: str | None = None
    jobs: dict[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Site:
    """All that SLURM tells of a site.

    If SLURM does not enforce associations, or sacctmgr does not answer, ``qos`` and
    ``associations`` are None: nothing is known. If it does not enforce limits, they have none.

    Args:
        partitions: all partitions.
        nodes: the nodes, by shape.
        qos: all QoS.
        associations: the user's own.
        config: the keys of `CONFIG` from ``scontrol show config`` that are set.
    """

    partitions: tuple[Partition, ...] = ()
    nodes: tuple[NodeShape, ...] = ()
    qos: tuple[Qos, ...] | None = None
    associations: tuple[Association, ...] | None = None
    config: dict[str, str] = field(default_factory=dict)


def read_site() -> Site:
    """Ask SLURM, or take its answer of the last minutes.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    import msgspec

    answer = cache.load(_CACHE)
    if answer.get("of") == _whose() and _is_young(answer.get("time")):
        try:
            return msgspec.convert(answer.get("site"), Site)
        except msgspec.ValidationError:
            pass  # another version of hpcdl wrote it
    site = _ask()
    cache.store(_CACHE, {"of": _whose(), "time": time.time(), "site": asdict(site)})
    return site


def forget() -> None:
    """Ask again the next time: what was refused may be allowed by then."""
    cache.forget(_CACHE)


def _is_young(asked: object) -> bool:
    return isinstance(asked, (int, float)) and 0 <= time.time() - asked < REMEMBERED_S


def _whose() -> list[str]:
    """For whom an answer is: one home may serve several clusters, and so may one login node."""
    names = [slurm.user(), socket.gethostname(), os.environ.get("SLURM_CONF", "")]
    return [*names, clusters.asked()]


def _ask() -> Site:
    """Ask SLURM.

    Raises:
        SchedulerError: scontrol did not answer.
    """
    partitions = []
    for record in _records(slurm.call(["scontrol", "show", "partition", "--oneliner"])):
        partitions.append(partition_of(record))
    nodes = alike(_records(slurm.call(["scontrol", "show", "node", "--oneliner"])))
    config = _config(slurm.call(["scontrol", "show", "config"]))
    site = Site(tuple(partitions), nodes, config=_set(config, CONFIG))
    enforced = set(config.get("AccountingStorageEnforce", "").lower().split(","))
    if not enforced & {"associations", "limits", "qos", "safe", "all"}:
        return site
    try:
        every_qos, associations = _ask_accounting(config.get("ClusterName", ""))
    except SchedulerError:
        return site
    if not enforced & {"limits", "safe", "all"}:
        every_qos = [Qos(qos.name) for qos in every_qos]
        associations = [replace(own, max_wall_s=None, jobs={}) for own in associations]
    return replace(site, qos=tuple(every_qos), associations=tuple(associations))


def _ask_accounting(cluster: str) -> tuple[list[Qos], list[Association]]:
    """All QoS, and the user's own associations on one cluster.

    Raises:
        SchedulerError: sacctmgr did not answer.
    """
    show = ["sacctmgr", "--noheader", "--parsable2", "show"]
    mine = ["user", slurm.user(), "withassoc", f"cluster={cluster}"]
    qos_keys = ",".join(("Name,MaxWall,MaxTRES,MaxTRESPU,GrpTRES,Flags", *QOS_JOBS))
    qos_text = slurm.call([*show, "qos", f"format={qos_keys}"])
    keys = ",".join(("Account,QOS,DefaultQOS,Partition,MaxWall,DefaultAccount", *ASSOCIATION_JOBS))
    associations_text = slurm.call([*show, *mine, f"format={keys}"])
    every_qos = [qos_of(line) for line in qos_text.splitlines() if line]
    associations = []
    for line in associations_text.splitlines():
        if line.partition("|")[0]:  # a user of other clusters only has a line without an account
            associations.append(association_of(line))
    return every_qos, associations


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


def try_script(script: str, options: Sequence[str] = ()) -> str:
    """What ``sbatch --test-only`` says of a batch script: when and where it would start.

    Args:
        script: its text.
        options: options in addition to those in the script; they override these.

    Raises:
        RefusedError: SLURM would not take it; its own words.
        SchedulerError: SLURM did not answer.
    """
    environment = submission_environment(os.environ)
    done = slurm.answer(["sbatch", "--test-only", *options], environment, TRY_S, script)
    lines = [re.sub(r"^sbatch: (error: )?", "", line) for line in done.stderr.splitlines()]
    message = " ".join(lines).strip()
    if done.returncode == 0:
        return message
    if any(sign in message for sign in (slurm.NOT_REACHED, "Unable to contact", "timed out")):
        raise SchedulerError(f"sbatch --test-only got no answer: {message}")
    raise RefusedError(message.removeprefix("allocation failure: "))


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


def _set(record: Mapping[str, str], keys: tuple[str, ...]) -> dict[str, str]:
    return {key: record[key] for key in keys if record.get(key, "") not in _NOT_SET}
