"""A run's status: decided from its files and, where these cannot say, from SLURM's answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcdl.run import causes, states
from hpcdl.run.evidence import Evidence
from hpcdl.run.records import AttemptEvent
from hpcdl.run.waiting import waiting_note
from hpcdl.scheduler.jobinfo import NEVER_SATISFIED, JobInfo
from hpcdl.scheduler.jobinfo import UNKNOWN as UNKNOWN_TO_SLURM


@dataclass(frozen=True)
class Status:
    """One run's state, and what people want to know with it.

    Args:
        state: one of the words of `states`.
        job_id: SLURM's id of its job.
        attempt: the number of its last attempt, from 1.
        epoch: the last epoch that has ended.
        epochs: how many there are at most.
        fold: the fold of a cross-validation under way.
        folds: how many there are.
        metrics: the last epoch's.
        phase: what the trainer does.
        node: where the last attempt ran.
        started: when the first attempt started (unix time).
        ended: when the last attempt ended (unix time).
        cause: of a failure.
        note: a sentence on why it is so.
    """

    state: str
    job_id: str | None = None
    attempt: int = 0
    epoch: int | None = None
    epochs: int | None = None
    fold: int | None = None
    folds: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    phase: str | None = None
    node: str | None = None
    started: float | None = None
    ended: float | None = None
    cause: str | None = None
    note: str = ""

    @property
    def final(self) -> bool:
        """Whether the run has ended for good."""
        return self.state in states.FINAL


def status_of(evidence: Evidence, job: JobInfo | None = None) -> Status:
    """The status that the evidence shows.

    Args:
        evidence: the run's files.
        job: SLURM's answer about its job; None if SLURM was not asked, or knows nothing yet.
    """
    last, epochs = evidence.last_event, evidence.epochs
    verdict = _verdict(evidence, job)
    return Status(
        state=verdict.state,
        job_id=evidence.job_id,
        attempt=len(evidence.starts),
        epoch=_last_epoch(evidence, epochs),
        epochs=evidence.heartbeat.epochs,
        fold=evidence.heartbeat.fold,
        folds=evidence.heartbeat.folds,
        metrics=epochs[-1] if epochs else {},
        phase=evidence.heartbeat.phase if verdict.program_runs else None,
        node=last.node if last else None,
        started=evidence.started_at,
        ended=evidence.ended_at,
        cause=verdict.cause,
        note=verdict.note,
    )


@dataclass(frozen=True)
class _Verdict:
    """A run's state, and why."""

    state: str
    cause: str | None = None
    note: str = ""
    program_runs: bool = False


def _verdict(evidence: Evidence, job: JobInfo | None) -> _Verdict:
    """The first that can tell decides: files before SLURM's answer, unless this is newer."""
    last = evidence.last_event
    if job is not None and last is not None and job.asked < (last.time or 0.0):
        job = None  # the files are newer
    return (
        _by_marker(evidence)
        or _by_result(evidence)
        or _by_submission(evidence)
        or _by_slurm(evidence, job)
        or _by_process(evidence)
        or _by_attempts(evidence, job)
    )


def _by_marker(evidence: Evidence) -> _Verdict | None:
    """The user cancelled the run."""
    if not evidence.cancelled:
        return None
    return _Verdict(states.CANCELLED, cause="cancelled")


def _by_result(evidence: Evidence) -> _Verdict | None:
    """The run has ended and left a result."""
    result, last = evidence.result, evidence.last_event
    if result is None or last is None or not last.is_end:
        return None
    return _Verdict(result.state, result.cause, result.message or "")


def _by_submission(evidence: Evidence) -> _Verdict | None:
    """The run was not sent, and no attempt of it has started."""
    if evidence.submitted is not None or evidence.starts:
        return None
    return _Verdict(states.CREATED, note="it was never submitted")


def _by_slurm(evidence: Evidence, job: JobInfo | None) -> _Verdict | None:
    """SLURM says that the job has ended, or that it does not know the job."""
    word = evidence.slurm_end_state if job is None else job.state
    if word is None:
        return None
    if word == UNKNOWN_TO_SLURM:
        note = "SLURM knows nothing of its job; hpcdl resume sends it again"
        return _Verdict(states.UNKNOWN, note=note)
    ended = causes.of_slurm_state(word)
    if ended is None:
        return None
    if _trainer_was_done(evidence):
        return _DONE_THEN_KILLED
    note = ended.message or ""
    if ended.state == states.CANCELLED and not evidence.starts:
        never = job is not None and job.reason == NEVER_SATISFIED
        if never or evidence.missed:
            why = "; ".join(evidence.missed) or "the job that it waited for did not end well"
            return _Verdict(states.CANCELLED, states.DEPENDENCY, why)
    if word == "FAILED":
        note = _why_not_requeued(evidence.last_event) or note
    return _Verdict(ended.state, ended.cause, note)


def _by_process(evidence: Evidence) -> _Verdict | None:
    """A local run's processes have ended without a last word."""
    if not evidence.process_gone:
        return None
    if _trainer_was_done(evidence):
        return _DONE_THEN_KILLED
    return _Verdict(states.LOST, note="its process is gone and left no result")


def _by_attempts(evidence: Evidence, job: JobInfo | None) -> _Verdict:
    """The run has not ended: its last attempt says how far it is."""
    waits = job is not None and job.state == "PENDING"
    note = ""
    if job is not None and waits:
        note = waiting_note(job.reason, job.start, evidence.job_id, evidence.after)
    last = evidence.last_event
    if last is None or not evidence.starts:
        return _Verdict(states.QUEUED, note=note)
    if last.reason == states.TERMINATED and not waits:
        return _Verdict(states.STOPPING, note="SLURM ended it; waiting for its word why")
    if last.event == states.RESUMED:
        return _Verdict(states.QUEUED, note=note)
    if last.is_end or waits:
        reason = (last.reason or "").replace("_", " ")
        return _Verdict(states.REQUEUED, note=", ".join(filter(None, (reason, note))))
    if evidence.stopping:
        return _Verdict(states.STOPPING, program_runs=True)
    return _Verdict(states.RUNNING, note=evidence.idle, program_runs=True)


_DONE_THEN_KILLED = _Verdict(states.DONE, note="killed after it had finished")


def _trainer_was_done(evidence: Evidence) -> bool:
    """Whether the trainer wrote its result, which launch had no time to complete."""
    return evidence.result is not None and evidence.result.state == states.DONE


def _last_epoch(evidence: Evidence, epochs: Sequence[dict[str, Any]]) -> int | None:
    """The last epoch: a training writes one line for each; a script numbers its own."""
    if not epochs:
        return None
    if not evidence.is_script:
        return len(epochs)
    number = epochs[-1].get("epoch")
    return None if number is None else int(number)


def _why_not_requeued(last: AttemptEvent | None) -> str | None:
    """The note on a job that failed after its program had started; None if it had not.

    Args:
        last: the last line of attempts.jsonl.
    """
    if last is None:
        return None
    if last.is_start:
        return "its job failed, and the attempt could not say why; hpcdl resume goes on with it"
    if last.is_end and last.reason in states.AGAIN:
        return (
            "it was to run again, but SLURM did not requeue its job; hpcdl resume goes on with it"
        )
    return None
