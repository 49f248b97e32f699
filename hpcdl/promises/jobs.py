"""The tiny jobs of a test: what each asks for, and what all of them can cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcdl.cluster.schema import Cluster
from hpcdl.contract import probe
from hpcdl.errors import UserError
from hpcdl.job import Job, load_job
from hpcdl.job.notify_section import NotifySection
from hpcdl.promises.names import CANCEL, MEMORY, NODE, STOP, UNDISTURBED
from hpcdl.submission.prepare import Submission, prepare

PROGRAMS = Path(__file__).parent / "programs"
MEMORY_GB = 1.0  # of the job that takes more
_TRAINING_GB = 4.0
_NODE_GB = 16.0
STOP_MARGIN_S = 15  # hpcdl's own clock: so late that SLURM's warning is to come before
_STEPS = 60  # of train.yaml
_SHORTEST_LEAD_S = 40  # so that SLURM's warning comes before hpcdl's own clock asks
_LONGEST_LEAD_S = 60  # more would make the job longer, and show no more
_LONGEST_LEAD_WITH_GPU_S = 40  # so that all jobs with a GPU each take 10 GPU-minutes
_MINUTE_S = 60
_NODE_MINUTES = 2
# What tells in the container which GPUs SLURM gave
_PASSED = ("SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU")
# Attempts at most, where it is more than one
_ATTEMPTS = {STOP: 2}
_GOES_ON = (STOP, CANCEL, MEMORY)  # what these show depends on whether a job is run again


@dataclass(frozen=True)
class Wanted:
    """How a site is tested.

    Args:
        gpus: GPUs of the job that looks at the node; None for the node's.
        container: the image, as a job's key ``container`` names it.
        gpu_minutes: what all jobs together may take.
        gpus_each: GPUs of each other job, for sites that take none without.
        whole_nodes: whether each job gets its node alone, and so all of its GPUs.
        sets: further keys of all jobs, such as ``slurm.reservation=NAME``.
    """

    gpus: int | None = None
    container: str = "tensorflow"
    gpu_minutes: float = 10.0
    gpus_each: int = 0
    whole_nodes: bool = False
    sets: Sequence[str] = field(default=())

    @property
    def all_take_gpus(self) -> bool:
        """Whether every job costs GPU-minutes, so that each is as short as can be."""
        return self.whole_nodes or self.gpus_each > 0


@dataclass(frozen=True)
class TestJob:
    """A job of the test, ready to be checked and sent."""

    __test__ = False  # not one of pytest's

    name: str
    submission: Submission
    cluster: Cluster
    takes_whole_node: bool = False

    @property
    def gpu_minutes(self) -> float:
        """What it takes at most: all its attempts, each to its time limit."""
        size = self.submission.plan.size
        gpus = size.gpus * size.nodes
        if self.takes_whole_node:
            gpus = max(gpus, self.cluster.node.gpus)
        return round(gpus * self.most_s / _MINUTE_S, 6)

    @property
    def most_s(self) -> int:
        """How long it runs at most: all its attempts, each to its time limit."""
        return self.submission.plan.size.time_limit_s * _ATTEMPTS.get(self.name, 1)


def prepare_jobs(
    names: Sequence[str], cluster: Cluster, wanted: Wanted, folder: Path
) -> list[TestJob]:
    """Decide everything about the jobs. Nothing is written to disk.

    The job that looks at the node gets as many of its GPUs as the GPU-minutes allow.

    Args:
        names: of the jobs.
        cluster: the profile.
        wanted: how the site is tested.
        folder: where the runs go.

    Raises:
        JobError: the cluster cannot do what is asked.
        UserError: the jobs take more than the GPU-minutes that they may.
    """
    others = [_prepared(name, cluster, wanted, folder) for name in names if name != NODE]
    minutes = sum(job.gpu_minutes for job in others)
    jobs = others
    if NODE in names:
        gpus = _gpus_of_node(cluster, wanted, wanted.gpu_minutes - minutes)
        node = _prepared(NODE, cluster, replace(wanted, gpus=gpus), folder)
        jobs = [node, *others]
        minutes += node.gpu_minutes
    if minutes > wanted.gpu_minutes:
        why, less = "", "fewer --gpus, "
        if wanted.whole_nodes:
            why, less = " (each job gets a whole node)", ""
        raise UserError(
            f"the jobs would take up to {minutes:g} GPU-minutes{why}, and --gpu-minutes is "
            f"{wanted.gpu_minutes:g}; expected at least as many, {less}or some of the promises "
            "alone: --only"
        )
    return jobs


def _gpus_of_node(cluster: Cluster, wanted: Wanted, minutes_left: float) -> int:
    if wanted.gpus is not None:
        return wanted.gpus
    if wanted.whole_nodes:
        return cluster.node.gpus
    affordable = int(minutes_left / _NODE_MINUTES)
    return min(cluster.node.gpus, max(1, affordable))


def _stop_minutes(cluster: Cluster, wanted: Wanted) -> int:
    """The time limit of the job that is stopped: three times the warning's lead at least."""
    return max(2, math.ceil(3 * _lead_s(cluster, wanted) / _MINUTE_S))


def _lead_s(cluster: Cluster, wanted: Wanted) -> int:
    """How long before the time limit SLURM is to warn the job that is stopped."""
    lead_s = min(_LONGEST_LEAD_S, max(_SHORTEST_LEAD_S, cluster.signal_lead_s))
    return min(lead_s, _LONGEST_LEAD_WITH_GPU_S) if wanted.all_take_gpus else lead_s


def _prepared(name: str, cluster: Cluster, wanted: Wanted, folder: Path) -> TestJob:
    job = _FILES[name](cluster, wanted)
    own = replace(cluster, notify=NotifySection(), budget_gpu_hours=None)
    own = replace(own, max_requeues=int(name in _GOES_ON))
    # The site's own margin may be as long as these jobs
    own = replace(own, stop_margin_s=min(own.stop_margin_s, STOP_MARGIN_S))
    job = replace(job, export=[], after=[], notify=NotifySection())
    if name == NODE:
        passed = [*cluster.pass_env, *(key for key in _PASSED if key not in cluster.pass_env)]
        own = replace(own, pass_env=passed)
        job = replace(job, env={**job.env, probe.VARIABLE: "1", probe.SITE: "1"})
    if name == STOP:
        lead_s = _lead_s(cluster, wanted)
        own = replace(own, stop_margin_s=STOP_MARGIN_S, signal_lead_s=lead_s)
        step_s = 1.5 * job.resources.time_limit_s / _STEPS
        job = replace(job, env={**job.env, probe.PACE: f"{step_s:.3f}"})
    return TestJob(name, prepare(job, own, "slurm", str(folder)), own, wanted.whole_nodes)


def _sets(name: str, wanted: Wanted, minutes: int, gpus: int) -> list[str]:
    return [
        f"name=test-{name}",
        f"container={wanted.container}",
        f"resources.time=00:{minutes:02d}:00",
        f"resources.gpus={gpus}",
        *wanted.sets,
    ]


def _memory_sets(cluster: Cluster, memory_gb: float) -> list[str]:
    """What a job asks for in memory: little, so that it starts soon."""
    if cluster.memory_request == "none":
        return []
    return [f"resources.memory_gb={min(memory_gb, cluster.node.memory_gb or memory_gb):g}"]


def _node(cluster: Cluster, wanted: Wanted) -> Job:
    sets = _sets(NODE, wanted, _NODE_MINUTES, wanted.gpus or 0)
    sets += _memory_sets(cluster, _NODE_GB)
    cpus = max(1, min(4, cluster.node.cpus))
    return load_job(PROGRAMS / "train.yaml", [*sets, f"resources.cpus={cpus}"])


def _stop(cluster: Cluster, wanted: Wanted) -> Job:
    sets = _sets(STOP, wanted, _stop_minutes(cluster, wanted), wanted.gpus_each)
    sets += _memory_sets(cluster, _TRAINING_GB)
    return load_job(PROGRAMS / "train.yaml", sets)


def _undisturbed(cluster: Cluster, wanted: Wanted) -> Job:
    sets = _sets(UNDISTURBED, wanted, _NODE_MINUTES, wanted.gpus_each)
    sets += _memory_sets(cluster, _TRAINING_GB)
    return load_job(PROGRAMS / "train.yaml", sets)


def _cancel(cluster: Cluster, wanted: Wanted) -> Job:
    sets = [*_sets(CANCEL, wanted, 1, wanted.gpus_each), "resources.cpus=1"]
    return load_job(PROGRAMS / "stay.py", [*sets, *_memory_sets(cluster, MEMORY_GB)])


def _memory(cluster: Cluster, wanted: Wanted) -> Job:
    gpus = max(wanted.gpus_each, 1 if cluster.memory_request == "mem-per-gpu" else 0)
    own = _memory_sets(cluster, MEMORY_GB)
    minutes = 2 - wanted.all_take_gpus
    sets = [*_sets(MEMORY, wanted, minutes, gpus), "resources.cpus=1", *own]
    asked = int(MEMORY_GB * 2**30) if own else 0
    return load_job(PROGRAMS / "hold_memory.py", sets, [str(asked)])


_FILES = {
    NODE: _node,
    STOP: _stop,
    UNDISTURBED: _undisturbed,
    CANCEL: _cancel,
    MEMORY: _memory,
}
