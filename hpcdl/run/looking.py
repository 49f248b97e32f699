"""The statuses of runs: from their files and, where these cannot say, from SLURM, asked once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.errors import SchedulerError
from hpcdl.run import records, states
from hpcdl.run.evidence import Evidence, read
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.records import Submitted
from hpcdl.run.state import Status, status_of

if TYPE_CHECKING:
    from hpcdl.scheduler.job_answers import Answers
    from hpcdl.scheduler.jobinfo import JobInfo

_FRESH_S = 60.0  # a heartbeat younger than this shows that the program runs
_POLL_S = 60  # seconds between two questions, if a plan does not say


@dataclass(frozen=True)
class Look:
    """What a run looks like now.

    Args:
        status: its status.
        evidence: its files.
        by_files: whether these alone say so.
    """

    status: Status
    evidence: Evidence
    by_files: bool = True


@dataclass(frozen=True)
class _Question:
    """A run about which SLURM is asked.

    Args:
        place: its place among the runs.
        paths: the run.
        submitted: where it was sent.
        cluster: its SLURM cluster, if the site has several.
        poll_s: seconds between two questions.
    """

    place: int
    paths: RunPaths
    submitted: Submitted
    cluster: str | None
    poll_s: int


def look(runs: Sequence[RunPaths], ask: bool = True) -> list[Look]:
    """The statuses of runs. SLURM is asked at most once, for all of them, and not too often.

    Args:
        runs: the runs.
        ask: whether SLURM may be asked at all.
    """
    looks = []
    questions = []
    for place, paths in enumerate(runs):
        evidence = read(paths)
        status = status_of(evidence)
        if isinstance(paths, TrialPaths) and paths.offer.exists():
            note = "the next free task of the sweep goes on with it"
            status = replace(status, state=states.REQUEUED, cause=None, note=note)
            looks.append(Look(status, evidence, by_files=False))
            continue
        looks.append(Look(status, evidence))
        submitted = evidence.submitted
        if ask and submitted is not None and _needs_slurm(status, evidence):
            questions.append(_question(place, paths, submitted))
    for cluster in {question.cluster for question in questions}:
        asked = [question for question in questions if question.cluster == cluster]
        for question, new_look in zip(asked, _answers(asked, looks), strict=True):
            looks[question.place] = new_look
    return looks


def _needs_slurm(status: Status, evidence: Evidence) -> bool:
    """Whether the files cannot say what a run does now.

    A young heartbeat shows that the program runs.
    """
    if evidence.submitted is None or evidence.submitted.backend != "slurm" or status.final:
        return False
    beat_age_s = time.time() - (evidence.heartbeat.time or 0.0)
    return status.state != states.RUNNING or beat_age_s >= _FRESH_S


def _question(place: int, paths: RunPaths, submitted: Submitted) -> _Question:
    from hpcdl.scheduler.clusters import cluster_of

    plan = records.plan(paths)
    poll_s = int(plan.get("min_poll_s", _POLL_S))
    return _Question(place, paths, submitted, cluster_of(plan), poll_s)


def _answers(asked: Sequence[_Question], looks: Sequence[Look]) -> Iterator[Look]:
    """The new looks of runs of one cluster, in their order."""
    from hpcdl.scheduler import job_answers
    from hpcdl.scheduler.clusters import on_cluster

    job_ids: list[str] = []
    for question in asked:
        job_ids += question.submitted.all_job_ids
    poll_s = min(question.poll_s for question in asked)
    with on_cluster(asked[0].cluster):
        answers = job_answers.latest(job_ids, poll_s)
    for question in asked:
        try:
            job = _job_of(question.submitted, answers)
        except SchedulerError as error:  # no answer is no reason for another state
            before = looks[question.place]
            note = "; ".join(filter(None, (before.status.note, str(error))))
            yield Look(replace(before.status, note=note), before.evidence, by_files=False)
            continue
        # The files are read again: they may have changed while SLURM answered.
        evidence = read(question.paths)
        yield Look(status_of(evidence, job), evidence, by_files=status_of(evidence).final)


def _job_of(submitted: Submitted, answers: Answers) -> JobInfo | None:
    """SLURM's answer about a run's job; None if it knows none of its jobs yet.

    Of a chain the first job that has not ended counts, else the last one. An answer from before
    the run was sent may be about an older job with the same id.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    from hpcdl.scheduler.jobinfo import ENDED

    since = submitted.sent or submitted.time or 0.0
    about = answers.about(submitted.all_job_ids, since)
    job = None
    for job_id in submitted.all_job_ids:
        if job_id not in about:
            continue
        job = about[job_id]
        if job.state not in ENDED:
            break
    return job
