"""SLURM's words about jobs: what its commands print, as values. Pure.

Source of the states: https://slurm.schedmd.com/job_state_codes.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass

# A job in one of these states has ended
FINISHED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "TIMEOUT",
    ]
)
UNKNOWN = "UNKNOWN"  # not one of SLURM's: SLURM was asked, and does not know the job
ENDED = FINISHED | {UNKNOWN}
NEVER_SATISFIED = "DependencyNeverSatisfied"  # the reason of a job that waits in vain

QUEUE_FORMAT = "--format=%i|%T|%r|%N|%S"  # of squeue
ACCOUNT_FORMAT = "--format=JobID,State,NodeList"  # of sacct; an array's tasks are 123_4


@dataclass(frozen=True)
class JobInfo:
    """What SLURM told about a job at one time.

    Args:
        state: its state, in SLURM's own word.
        asked: when SLURM was asked (unix time).
        reason: why it waits, in SLURM's own word.
        node: where it is.
        start: when SLURM expects to start it.
    """

    state: str
    asked: float = 0.0
    reason: str = ""
    node: str = ""
    start: str = ""


def jobs_of_squeue(text: str, asked: float) -> dict[str, JobInfo]:
    """The jobs by id, from squeue with `QUEUE_FORMAT`; tasks of an array come as 123_[4-9%2].

    Args:
        text: what it printed.
        asked: when it was asked (unix time).
    """
    jobs = {}
    for line in text.splitlines():
        job_id, state, reason, node, start = line.split("|")
        jobs[job_id] = JobInfo(state, asked, _or_empty(reason), _or_empty(node), _or_empty(start))
    return jobs


def jobs_of_sacct(text: str, asked: float) -> dict[str, JobInfo]:
    """The jobs by id, from sacct with `ACCOUNT_FORMAT`.

    Args:
        text: what it printed.
        asked: when it was asked (unix time).
    """
    jobs = {}
    for line in text.splitlines():
        job_id, state, node = line.split("|")
        word = state.split()[0]  # without the rest of "CANCELLED by 1000"
        jobs[job_id] = JobInfo(word, asked, node=_or_empty(node))
    return jobs


def past_states_of(text: str) -> list[str]:
    """How the attempts of a job ended, oldest first, from the states that sacct printed."""
    past = []
    for line in text.splitlines():
        if not line.strip():
            continue
        state = line.split()[0]
        if state in FINISHED or state == "REQUEUED":
            past.append(state)
    return past


def end_time_of(text: str) -> float | None:
    """When a running job reaches its time limit (unix time), from squeue with ``%T %e``.

    Of a job that is being cancelled squeue gives the time of that, which is not its limit.

    Raises:
        ValueError: the text holds no such time.
    """
    state, _, end = text.strip().partition(" ")
    if state != "RUNNING":
        return None
    return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S"))


def job_id_of(text: str) -> str | None:
    """The id of a new job, from ``sbatch --parsable``; None if the text has none.

    The site's own plugins may print lines before it.
    """
    lines = text.strip().splitlines() or [""]
    job_id = lines[-1].partition(";")[0]
    return job_id if job_id.isdigit() else None


def _or_empty(text: str) -> str:
    if text in ("None", "N/A", "(null)", "None assigned"):
        return ""
    return text
