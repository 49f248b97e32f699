"""SLURM's answers about jobs, which all of a user's hpcdl commands share: SLURM is asked seldom."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from hpcdl import cache
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import clusters, slurm
from hpcdl.scheduler.array_jobs import Jobs, array_of
from hpcdl.scheduler.jobinfo import FINISHED, UNKNOWN, JobInfo

_LOCK = "slurm-jobs.lock"
_REMEMBERED_S = 3600.0
_MISSING_S = 600.0  # accounting may lag that far behind the queue


@dataclass(frozen=True)
class Answers:
    """SLURM's last answers about the user's jobs.

    Args:
        time: when SLURM was asked last (unix time).
        error: why it did not answer then; else empty.
        jobs: what it told, by id as SLURM prints it: of a job, a task or tasks (``123_[4-9%2]``).
        missing: the jobs that neither squeue nor sacct knew, and since when (unix time).
        wanted: the jobs to ask for next time.
    """

    time: float = 0.0
    error: str = ""
    jobs: dict[str, JobInfo] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)

    def about(self, job_ids: Iterable[str], since: float = 0.0) -> dict[str, JobInfo]:
        """What is known of some jobs; a job that no answer names yet is left out.

        Args:
            job_ids: ids of jobs, of tasks (``123_4``), or of arrays, whose tasks come by their
                ids as SLURM prints them.
            since: when the youngest of these jobs was submitted (unix time).

        Raises:
            SchedulerError: SLURM did not answer, and has not told of these jobs before.
        """
        fitting = {}
        for job_id in job_ids:
            for name, job in self._by_id.about(job_id).items():
                if job.asked >= since:
                    fitting[name] = job
        if self.error and not fitting:
            raise SchedulerError(self.error)
        return fitting

    @cached_property
    def _by_id(self) -> Jobs:
        return Jobs(self.jobs)


def latest(job_ids: Iterable[str], min_poll_s: int) -> Answers:
    """The last answers, or new ones if these are old enough.

    They come from squeue and, for jobs that it has forgotten, from sacct. All of a user's hpcdl
    commands together ask SLURM at most once in min_poll_s seconds, even if it does not answer. In
    between they share the last answer. If the user's cache cannot be written, each command asks
    for itself.

    Args:
        job_ids: the jobs to ask for, as in `Answers.about`.
        min_poll_s: seconds between two questions.
    """
    ids = set(job_ids)
    with cache.locked(_LOCK):
        before = _remembered()
        answers = before
        if not 0 <= time.time() - before.time < min_poll_s:
            _store(replace(before, time=time.time()))  # if this command is killed while it asks
            answers = _ask(before, ids)
        answers = replace(answers, wanted=sorted(ids | set(answers.wanted)))
        if answers != before:
            _store(answers)
    return answers


def _cache_name() -> str:
    """The file of answers: one for each cluster, as two may have the same job number."""
    return f"slurm-jobs-{clusters.asked()}".rstrip("-") + ".json"


def _store(answers: Answers) -> None:
    cache.store(_cache_name(), asdict(answers))


def _remembered() -> Answers:
    """The last answers; nothing if the cache has none, or some of another form."""
    import msgspec

    try:
        return msgspec.convert(cache.load(_cache_name()), Answers)
    except msgspec.ValidationError:
        return Answers()


def _ask(before: Answers, job_ids: set[str]) -> Answers:
    """Ask squeue once for all of the user's jobs, then sacct at most once for those it forgot."""
    now = time.time()
    settled = {}
    for name, job in before.jobs.items():
        if _is_settled(job, now):
            settled[name] = job
    try:
        answered = slurm.queued_jobs()
    except SchedulerError as error:
        return replace(before, time=now, error=str(error))
    asked_for = job_ids | set(before.wanted)
    forgotten = _unknown(asked_for, {**settled, **answered})
    missing = dict(before.missing)
    try:
        if forgotten and shutil.which("sacct"):
            arrays = sorted({array_of(job_id) for job_id in forgotten})
            accounted = Jobs(slurm.accounted_jobs(arrays))
            for job_id in forgotten:
                answered.update(accounted.about(job_id))
        missing = {}
        for job_id in _unknown(forgotten, answered):
            missing[job_id] = before.missing.get(job_id, now)
    except SchedulerError:
        pass  # accounting may be down while the scheduler is not: the jobs stay what they were
    for job_id, first_missed in missing.items():
        if now - first_missed >= _MISSING_S:
            answered[job_id] = JobInfo(UNKNOWN, now)
    return Answers(time=now, jobs={**settled, **answered}, missing=missing)


def _unknown(job_ids: Iterable[str], answers: dict[str, JobInfo]) -> list[str]:
    """The jobs that no answer is about, sorted."""
    jobs = Jobs(answers)
    return [job_id for job_id in sorted(job_ids) if not jobs.about(job_id)]


def _is_settled(job: JobInfo, now: float) -> bool:
    """Whether an answer cannot change any more, and is young enough to be kept."""
    return job.state in FINISHED and now - job.asked < _REMEMBERED_S
