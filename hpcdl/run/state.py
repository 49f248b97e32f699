"""A run's status: decided from its files and, where these cannot say, from SLURM's answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcdl.run import causes, records, states
from hpcdl.run.after import missed, read_after
from hpcdl.run.logs import slurms_words
from hpcdl.run.metrics import GLANCE_BYTES, read_metrics
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.records import AttemptEvent, Heartbeat, Submitted
from hpcdl.run.result import Result
from hpcdl.run.waiting import waiting_note
from hpcdl.scheduler.jobinfo import NEVER_SATISFIED, JobInfo
from hpcdl.scheduler.jobinfo import UNKNOWN as UNKNOWN_TO_SLURM


@dataclass(frozen=True)
class Evidence:
    """What a run's folder shows; `status_of` looks at nothing else.

    Args:
        submitted: where it was sent; None if it was not.
        attempts: the lines of attempts.jsonl.
        heartbeat: where the trainer is.
        metrics: its epochs so far.
        result: how it ended; None while there is none.
        cancelled: whether the user cancelled it.
        stopping: whether the program is asked to save and stop.
        process_gone: whether it is a local run whose processes have ended.
        slurm_end_state: SLURM's state of the run's last job, if the job's output tells its end.
        is_script: whether it runs the user's own script.
        after: the names of the runs that it comes after.
        missed: which of these are not done, in words.
    """

    submitted: Submitted | None = None
    attempts: Sequence[AttemptEvent] = ()
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    metrics: Sequence[dict[str, Any]] = ()
    result: Result | None = None
    cancelled: bool = False
    stopping: bool = False
    process_gone: bool = False
    slurm_end_state: str | None = None
    is_script: bool = False
    after: Sequence[str] = ()
    missed: Sequence[str] = ()

    @property
    def starts(self) -> list[AttemptEvent]:
        """The lines that say that an attempt started."""
        return [event for event in self.attempts if event.is_start]

    @property
    def last_event(self) -> AttemptEvent | None:
        """The last line of attempts.jsonl."""
        return self.attempts[-1] if self.attempts else None

    @property
    def started_at(self) -> float | None:
        """When the first attempt started (unix time)."""
        return self.starts[0].time if self.starts else None

    @property
    def ended_at(self) -> float | None:
        """When the last attempt ended (unix time); None while it runs."""
        last = self.last_event
        if last is None or not last.is_end:
            return None
        return last.time

    @property
    def job_id(self) -> str | None:
        """SLURM's id of the run's job."""
        return None if self.submitted is None else self.submitted.job_id

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The epochs of the fold under way; of a run without cross-validation all of them."""
        return [row for row in self.metrics if row.get("fold") == self.heartbeat.fold]


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


def read(paths: RunPaths) -> Evidence:
    """Read a run's files as they are now."""
    attempts = records.read_attempts(paths)
    submitted = _submitted_of(paths, attempts)
    # Before all other files: what a process wrote before it ended is then seen.
    process_gone = _is_process_gone(submitted, attempts)
    if process_gone and not _ends_with_end(attempts):
        attempts = records.read_attempts(paths)
    result = Result.read(paths)
    heartbeat = Heartbeat.read(paths)
    if heartbeat == Heartbeat() and result is not None:  # a run that is done has none
        heartbeat = Heartbeat(**result.keys.get("progress", {}))
    slurm_end_state = None
    if result is None or not _ends_with_end(attempts):
        slurm_end_state = _slurm_end_state(paths, submitted)
    return Evidence(
        submitted=submitted,
        attempts=attempts,
        heartbeat=heartbeat,
        metrics=read_epochs(paths),
        result=result,
        cancelled=paths.cancelled.exists(),
        stopping=paths.stop.exists(),
        process_gone=process_gone,
        slurm_end_state=slurm_end_state,
        is_script=not paths.spec.exists(),
        after=[before.name for before in read_after(paths)],
        missed=[str(before) for before in missed(paths)],
    )


def _ends_with_end(attempts: Sequence[AttemptEvent]) -> bool:
    return bool(attempts) and attempts[-1].is_end


def _submitted_of(paths: RunPaths, attempts: Sequence[AttemptEvent]) -> Submitted | None:
    """Where a run was sent; of a sweep's trial: the task that had its last attempt."""
    submitted = Submitted.read(paths)
    if submitted is None or not isinstance(paths, TrialPaths):
        return submitted
    starts = [event for event in attempts if event.is_start]
    last = starts[-1] if starts else records.AttemptEvent("start")
    return Submitted(
        backend=submitted.backend,
        cluster=submitted.cluster,
        job_id=last.job_id,
        time=submitted.time,
        pid=last.pid,
        pid_start=last.pid_start,
        host=last.host,
    )


def read_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """The epochs in metrics.jsonl.

    Of a cross-validation these are the epochs of all folds, each with its ``fold``. A script may
    write anything there, and a lot of it: of a script these are the last usable epochs.
    """
    folds = paths.folds()
    if not folds and not paths.spec.exists():
        return _script_epochs(paths)
    if not folds:
        return records.epochs(paths)
    rows = []
    for fold in folds:
        for row in records.epochs(fold):
            rows.append({**row, "fold": int(fold.root.name)})
    return rows


def _script_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """A script's last epochs, the newest at the end; its last line if it has no epochs."""
    metrics = read_metrics(paths.metrics, GLANCE_BYTES)
    newest = metrics.newest
    rows: list[dict[str, Any]] = []
    for row in metrics.rows:
        if "epoch" in row and "step" not in row and row is not newest:
            rows.append(dict(row))
    if newest:
        rows.append(dict(newest))
    return rows


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
    return _Verdict(states.RUNNING, program_runs=True)


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


def _slurm_end_state(paths: RunPaths, submitted: Submitted | None) -> str | None:
    """TIMEOUT or CANCELLED, if SLURM wrote that into the output of the run's last job.

    SLURM starts no job again after these two.
    """
    if submitted is None or not submitted.all_job_ids:
        return None
    output = slurms_words(paths, submitted.all_job_ids[-1])
    word = causes.slurm_state_of_words(output)
    return word if word in ("TIMEOUT", "CANCELLED") else None


def _is_process_gone(submitted: Submitted | None, attempts: Sequence[AttemptEvent]) -> bool:
    """Whether a local run's processes have ended: the first one, and the last attempt's.

    False if the run is another machine's, where nobody can look from here.
    """
    if submitted is None or submitted.backend != "local":
        return False
    if submitted.host != socket.gethostname():
        return False
    processes = [(submitted.pid, submitted.pid_start)]
    for event in attempts:
        if event.is_start:
            processes.append((event.pid, event.pid_start))
    return not any(_lives(*process) for process in (processes[0], processes[-1]))


def _lives(pid: int | None, pid_start: str | None) -> bool:
    """Whether this very process still runs."""
    start = process_start(pid) if pid else None
    return start is not None and start == pid_start


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None if it has ended, or is a zombie.

    The pid and this time together name one process for good: the kernel uses pids again.

    Source: proc(5), field 22 of stat.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():  # no /proc, as on macOS
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return "alive"
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
