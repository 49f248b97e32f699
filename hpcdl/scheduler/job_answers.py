"""SLURM's answers about jobs, which all of a user's hpcdl commands share: SLURM is asked seldom."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

from hpcdl import cache
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import clusters, slurm
from hpcdl.scheduler.jobinfo import FINISHED, UNKNOWN, JobInfo

_LOCK = "slurm-jobs.lock"
_REMEMBERED_S = 3600.0
_MISSING_S = 600.0  # accounting may lag that far behind the queue


@dataclass(frozen=True)
class _Answers:
    """The user's cache of answers.

    Args:
        time: when SLURM was asked last (unix time).
        error: why it did not answer then; else empty.
        jobs: what it told, by job id.
        missing: the jobs that neither squeue nor sacct knew, and since when (unix time).
        wanted: the jobs to ask for next time.
    """

    time: float = 0.0
    error: str = ""
    jobs: dict[str, JobInfo] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)


def jobs(job_ids: Iterable[str], min_poll_s: int, since: float = 0.0) -> dict[str, JobInfo]:
    """What SLURM knows of these jobs, from squeue and, for those it has forgotten, sacct.

    All of a user's hpcdl commands together ask SLURM at most once in min_poll_s seconds, even if
    it does not answer. In between they share the last answer. If the user's cache cannot be
    written, each command asks for itself.

    Args:
        job_ids: the jobs.
        min_poll_s: seconds between two questions.
        since: when the youngest of these jobs was submitted (unix time).

    Returns:
        What is known, by job id; a job that no answer names yet is left out.

    Raises:
        SchedulerError: SLURM did not answer, and has not told of these jobs before.
    """
    ids = set(job_ids)
    answers = _latest(ids, min_poll_s)
    fitting = {}
    for job_id, job in answers.jobs.items():
        if job_id in ids and job.asked >= since:
            fitting[job_id] = job
    if answers.error and not fitting:
        raise SchedulerError(answers.error)
    return fitting


def _latest(job_ids: set[str], min_poll_s: int) -> _Answers:
    """The last answers, or new ones if these are old enough."""
    with cache.locked(_LOCK):
        before = _remembered()
        answers = before
        if not 0 <= time.time() - before.time < min_poll_s:
            _store(replace(before, time=time.time()))  # if this command is killed while it asks
            answers = _ask(before, job_ids)
        answers = replace(answers, wanted=sorted(job_ids | set(answers.wanted)))
        if answers != before:
            _store(answers)
    return answers


def _cache_name() -> str:
    """The file of answers: one for each cluster, as two may have the same job number."""
    return f"slurm-jobs-{clusters.asked()}".rstrip("-") + ".json"


def _store(answers: _Answers) -> None:
    cache.store(_cache_name(), asdict(answers))


def _remembered() -> _Answers:
    """The last answers; nothing if the cache has none, or some of another form."""
    import msgspec

    try:
        return msgspec.convert(cache.load(_cache_name()), _Answers)
    except msgspec.ValidationError:
        return _Answers()


def _ask(before: _Answers, job_ids: set[str]) -> _Answers:
    """Ask squeue once for all of the user's jobs, then sacct at most once for those it forgot."""
    now = time.time()
    settled = {}
    for job_id, job in before.jobs.items():
        if _is_settled(job, now):
            settled[job_id] = job
    try:
        answered = slurm.queued_jobs()
    except SchedulerError as error:
        return replace(before, time=now, error=str(error))
    asked_for = (job_ids | set(before.wanted)) - set(settled)
    forgotten = sorted(asked_for - set(answered))
    missing = dict(before.missing)
    try:
        if forgotten and shutil.which("sacct"):
            answered.update(slurm.accounted_jobs(forgotten))
        missing = {}
        for job_id in forgotten:
            if job_id not in answered:
                missing[job_id] = before.missing.get(job_id, now)
    except SchedulerError:
        pass  # accounting may be down while the scheduler is not: the jobs stay what they were
    for job_id, first_missed in missing.items():
        if now - first_missed >= _MISSING_S:
            answered[job_id] = JobInfo(UNKNOWN, now)
    return _Answers(time=now, jobs={**settled, **answered}, missing=missing)


def _is_settled(job: JobInfo, now: float) -> bool:
    """Whether an answer cannot change any more, and is young enough to be kept."""
    return job.state in FINISHED and now - job.asked < _REMEMBERED_S
