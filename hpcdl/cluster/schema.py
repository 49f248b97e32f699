"""The keys of a cluster profile: one site, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from hpcdl.contract.settings import setting
from hpcdl.job.notify_section import NotifySection

# Set by hpcdl in a container, to keep it apart from the node: pass_env is not for them
OWN_VARIABLES = (
    *(
        "HOME",
        "KERAS_HOME",
        "PYTHONNOUSERSITE",
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "TMPDIR",
    ),
    *("XDG_CACHE_HOME", "MPLCONFIGDIR", "CUDA_CACHE_PATH"),
)


@dataclass(frozen=True)
class Node:
    """The shape of one compute node of the partition that jobs go to."""

    cpus: int = setting("CPUs of a node, as SLURM counts them", 1, ge=1)
    gpus: int = setting("GPUs of a node", 0, ge=0)
    memory_gb: Optional[float] = setting("memory of a node that jobs may use, in GB", None, gt=0)
    gpu_model: Optional[str] = setting("what the GPUs are, for people", None)


@dataclass(frozen=True)
class Image:
    """A container image at this site."""

    path: str = setting("path of the .sif file on the compute nodes")
    python: str = setting("the image's Python command", "python")


@dataclass(frozen=True)
class PartitionChoice:
    """A partition to choose, if it differs from the profile: its node and gpu_type replace the
    profile's.
    """

    max_time: Optional[str] = setting("the longest job, as in resources.time", None)
    node: Optional[Node] = setting("the shape of its nodes", None)
    gpu_type: Optional[str] = setting("its GPUs' type", None)
    max_nodes: Optional[int] = setting("the most nodes of a job", None, ge=1)


@dataclass(frozen=True)
class QosChoice:
    """A quality of service to choose."""

    max_time: Optional[str] = setting("the longest job, as in resources.time", None)


@dataclass(frozen=True)
class Cluster:
    """One site: what its nodes look like, how it wants to be asked, and where things lie.

    Paths and binds may hold {account}, {user} and variables of the shell that sends the job, such
    as $SCRATCH; those in ``scratch`` are the node's. ``places`` says for each key that was given
    where it was written.
    """

    name: str = setting("the profile's name")
    description: str = setting("one line for people", "")
    country: Optional[str] = setting("the country, as in hpcdl cluster list --country Norway", None)
    detect: list[str] = setting("host name patterns of its login nodes, such as alogin*.bsc.es", [])
    node: Node = setting("the shape of a node", Node)
    account: Optional[str] = setting("the account (project, group) that pays", None)
    partition: Optional[str] = setting("partition", None)
    qos: Optional[str] = setting("quality of service", None)
    constraint: Optional[str] = setting(
        "which nodes, by their features, as in --constraint=gpu", None
    )
    clusters: Optional[str] = setting(
        "the SLURM cluster, where a site has several: sbatch -M", None
    )
    accounts: list[str] = setting("the accounts to choose from; empty: not known", [])
    partitions: dict[str, PartitionChoice] = setting(
        "the partitions to choose from: {name: {max_time, node, gpu_type}}", {}
    )
    qos_choices: dict[str, QosChoice] = setting(
        "the qualities of service to choose from: {name: {max_time}}", {}
    )
    max_time: Optional[str] = setting("the longest job, where neither partition nor QoS says", None)
    architecture: Optional[str] = setting(
        "of the compute nodes, as uname -m tells it: x86_64, aarch64", None
    )
    gpu_request: str = setting(
        "how GPUs are asked for; none: a job gets a whole node and uses its first GPUs",
        "gres",
        choices=("gres", "gpus-per-node", "none"),
    )
    gpu_vendor: str = setting("who makes the GPUs", "nvidia", choices=("nvidia", "amd"))
    gpu_type: Optional[str] = setting(
        "the GPUs' type where the site wants it, as in gpu:h100:1", None
    )
    memory_request: str = setting(
        "how memory is asked for", "none", choices=("none", "mem", "mem-per-cpu", "mem-per-gpu")
    )
    modules: list[str] = setting("modules that give the container command", [])
    module_init: Optional[str] = setting(
        "file to source where batch shells lack the module command", None
    )
    runtime: str = setting("the container command", "apptainer")
    images: dict[str, Image] = setting(
        "named images: {name: path} or {name: {path, python}}", {}, word="path"
    )
    binds: list[str] = setting("folders that every container sees, besides its run and data", [])
    data_root: str = setting(
        "staged data sets and weights, on the shared file system", "~/.local/share/hpcdl/data"
    )
    runs_root: str = setting("where run folders go, on the shared file system", "runs")
    pass_env: list[str] = setting(
        "the node's variables that enter the container, which is clean otherwise", []
    )
    worker_ports: Optional[str] = setting(
        "ports that the workers of a job on several nodes may use, as 20000-20999; else any",
        None,
    )
    scratch: Optional[str] = setting(
        "node-local folder for temporary files; else the node's own default", None
    )
    scratch_gres: Optional[str] = setting(
        "what to ask for with --gres to get it, such as localscratch:50G", None
    )
    host_python: Optional[str] = setting(
        "Python with hpcdl on the compute nodes; by default the one that submits", None
    )
    host_modules: list[str] = setting("modules that the host Python needs", [])
    requeue: bool = setting("jobs may be requeued", True)
    max_requeues: int = setting(
        "how often a job is run again after its time limit; preemptions do not count", 10, ge=0
    )
    max_array_tasks: Optional[int] = setting(
        "the most tasks of one job array, where the site asks for fewer than SLURM takes",
        None,
        ge=1,
    )
    max_submitted_tasks: Optional[int] = setting(
        "the most jobs that a user may have in the queue, where SLURM does not count them; "
        "a task of an array is one",
        None,
        ge=1,
    )
    stop_margin_s: int = setting(
        "seconds kept free before the time limit, besides the time of three saves", 60, ge=0
    )
    save_every_s: float = setting("seconds between two checkpoints of a training", 300.0, ge=1)
    save_every_steps: Optional[int] = setting(
        "steps between two checkpoints, besides the seconds", None, ge=1
    )
    keep_checkpoints: int = setting("how many checkpoints are kept", 3, ge=1)
    signal_lead_s: int = setting(
        "seconds before the time limit at which SLURM warns the job", 180, ge=1, le=65535
    )
    budget_gpu_hours: Optional[float] = setting(
        "GPU-hours that all your runs together may take; what exceeds them is not sent", None, gt=0
    )
    min_poll_s: int = setting("seconds between two questions to SLURM", 60, ge=1)
    notify: NotifySection = setting("who hears that a run has ended", NotifySection)
    emulate_gpus: bool = setting("stand in CPU devices for GPUs (test beds only)", False)
    file: str = field(default="", compare=False, repr=False, metadata={"internal": True})
    places: dict[str, str] = field(
        default_factory=dict, compare=False, repr=False, metadata={"internal": True}
    )
