"""What a SLURM site has and allows its user: partitions, nodes, QoS and associations. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    exclusive: bool = False  # a job gets its nodes alone


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
