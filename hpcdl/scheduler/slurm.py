"""What hpcdl asks SLURM about jobs and nodes, and what it tells it: a function for each."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from hpcdl.environment import submission_environment, user_name
from hpcdl.errors import SchedulerError
from hpcdl.scheduler.command import NOT_REACHED, call
from hpcdl.scheduler.jobinfo import (
    ACCOUNT_FORMAT,
    QUEUE_FORMAT,
    JobInfo,
    end_time_of,
    job_id_of,
    jobs_of_sacct,
    jobs_of_squeue,
    past_states_of,
)

# A busy SLURM takes jobs slowly. When sbatch gives up, SLURM may have accepted the job.
_SBATCH_S = 180


def available() -> bool:
    """Whether this machine can submit to SLURM."""
    return shutil.which("sbatch") is not None


def sbatch(script: Path, options: Sequence[str] = (), known: Collection[str] = ()) -> str:
    """Submit a batch script, which lies in its job's working directory.

    If sbatch gives no id, SLURM may have accepted the job anyway: then the queue is looked at.

    Args:
        script: the script.
        options: options in addition to those in the script; they override these.
        known: the other jobs in this directory.

    Returns:
        The job's id.

    Raises:
        SchedulerError: SLURM refused it, with its own words, or did not answer.
    """
    argv = ["sbatch", "--parsable", *options, str(script)]
    try:
        text = call(argv, env=submission_environment(os.environ), timeout_s=_SBATCH_S)
        job_id = job_id_of(text)
        if job_id is not None:
            return job_id
        raise SchedulerError(
            f"sbatch took the job but its answer is unreadable: {text!r}; see squeue --me"
        )
    except SchedulerError as error:
        taken = None
        if NOT_REACHED not in str(error):
            with suppress(SchedulerError):
                taken = job_in(script.parent, known)
        if taken is None:
            raise
        return taken


def job_in(folder: Path, known: Collection[str] = ()) -> str | None:
    """The first job that waits or runs with this working directory; None if there is none.

    Args:
        folder: the working directory.
        known: jobs that do not count.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    for job_id in jobs_in(folder):
        if job_id not in known:
            return job_id
    return None


def jobs_in(folder: Path) -> list[str]:
    """The jobs that wait or run with this working directory.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    job_ids = []
    for job_id, working_directory in working_directories():
        if working_directory == str(folder):
            job_ids.append(job_id)
    return job_ids


def working_directories() -> list[tuple[str, str]]:
    """The id and the working directory of each of the user's jobs that waits or runs.

    An array is listed once, by its own id.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    text = call(["squeue", "--noheader", f"--user={user_name()}", "--format=%F|%Z"])
    jobs_and_places = {}
    for line in text.splitlines():
        job_id, _, place = line.partition("|")
        jobs_and_places[job_id] = place
    return list(jobs_and_places.items())


def count_tasks(job_ids: Collection[str]) -> int:
    """How many tasks of some arrays wait or run.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    text = call(["squeue", "--noheader", "--array", f"--user={user_name()}", "--format=%F"])
    return sum(line.strip() in job_ids for line in text.splitlines())


def living_tasks() -> list[str]:
    """The ids of all of the user's array tasks that wait, run or are just ending: ``123_4``.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    text = call(["squeue", "--noheader", "--array", f"--user={user_name()}", "--format=%F_%K"])
    return text.split()


def scancel(*job_ids: str, pending: bool = False) -> None:
    """Cancel jobs. It is not an error if they have ended.

    Args:
        job_ids: the jobs.
        pending: cancel only those that have not started.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    options = ["--quiet"]
    if pending:
        options.append("--state=PENDING")
    call(["scancel", *options, *job_ids])


def release(job_id: str) -> None:
    """Let a job start that was submitted with ``--hold``.

    Raises:
        SchedulerError: SLURM did not take it.
    """
    call(["scontrol", "release", job_id])


def nodes_down(nodes: Sequence[str]) -> list[str]:
    """Those of some nodes that are out of service.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    argv = ["sinfo", "--noheader", "--Node", "--format=%N", "--states=down,drain,fail,no_respond"]
    down = set(call([*argv, f"--nodes={','.join(nodes)}"]).split())
    return [node for node in nodes if node in down]


def exclude(job_id: str, nodes: str) -> None:
    """Keep a job that has not started away from exactly these nodes: ``n1,n[3-4]``.

    Raises:
        SchedulerError: SLURM did not take it.
    """
    call(["scontrol", "update", f"JobId={job_id}", f"ExcNodeList={nodes}"])


def depend(job_id: str, dependency: str) -> None:
    """Let a job that has not started wait for other jobs than before.

    Args:
        job_id: the job.
        dependency: such as ``afterok:7,afterany:8``; empty for none.

    Raises:
        SchedulerError: SLURM did not take it.
    """
    call(["scontrol", "update", f"JobId={job_id}", f"Dependency={dependency}"])


def past_states(job_id: str) -> list[str]:
    """How each attempt of a requeued job ended, in SLURM's words, oldest first.

    Raises:
        SchedulerError: there is no sacct here, or it did not answer.
    """
    options = ["--duplicates", "--allocations", "--noheader", "--parsable2", "--format=State"]
    return past_states_of(call(["sacct", *options, f"--jobs={job_id}"]))


def end_time(job_id: str) -> float | None:
    """When a running job reaches its time limit (unix time), or None if SLURM does not answer.

    SLURM_JOB_END_TIME is not set everywhere (not on 22.05), so squeue is asked, once an attempt.
    """
    try:
        text = call(["squeue", "--noheader", "--format=%T %e", f"--jobs={job_id}"])
        return end_time_of(text)
    except (SchedulerError, ValueError):
        return None


def steps(job_id: str) -> str:
    """The steps of a running job, as squeue lists them for people.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    return call(["squeue", "--steps", f"--jobs={job_id}"])


def queued_jobs() -> dict[str, JobInfo]:
    """The user's jobs that wait, run, or have ended a moment ago, by id as squeue prints it.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    asked = time.time()
    states = ["--states=all", f"--user={user_name()}"]
    text = call(["squeue", "--noheader", *states, QUEUE_FORMAT], env=_with_whole_lists())
    return jobs_of_squeue(text, asked)


def accounted_jobs(job_ids: Sequence[str]) -> dict[str, JobInfo]:
    """These jobs as accounting knows them, by id; of an array all tasks.

    Raises:
        SchedulerError: there is no sacct here, or it did not answer.
    """
    options = ["--noheader", "--parsable2", "--allocations", ACCOUNT_FORMAT]
    text = call(["sacct", *options, f"--jobs={','.join(job_ids)}"], env=_with_whole_lists())
    return jobs_of_sacct(text, time.time())


def _with_whole_lists() -> dict[str, str]:
    """An environment in which the lists of an array's tasks are not cut short (squeue(1))."""
    return {**submission_environment(os.environ), "SLURM_BITSTR_LEN": "0"}
