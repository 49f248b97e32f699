"""What SLURM says of the jobs of a test: in its queue, and in its accounting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import slurm
from hpcdl.scheduler.clusters import on_cluster


@dataclass(frozen=True)
class Words:
    """An answer of SLURM's.

    Args:
        states: its words for jobs, by their ids.
        error: why there is no answer; "" if there is one.
    """

    states: dict[str, str] = field(default_factory=dict)
    error: str = ""


def in_queue(cluster: Cluster) -> Words:
    """The user's jobs that wait, run, or have ended a moment ago."""
    try:
        with on_cluster(cluster.clusters):
            jobs = slurm.queued_jobs()
    except SchedulerError as error:
        return Words(error=str(error))
    return Words({job_id: job.state for job_id, job in jobs.items()})


def in_accounting(cluster: Cluster, job_ids: Sequence[str]) -> Words:
    """What accounting knows of some jobs."""
    if not job_ids:
        return Words()
    try:
        with on_cluster(cluster.clusters):
            jobs = slurm.accounted_jobs(job_ids)
    except SchedulerError as error:
        return Words(error=str(error))
    return Words({job_id: job.state for job_id, job in jobs.items()})
