"""What a run's folder shows of it: its files, read together."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcdl.run import causes, records
from hpcdl.run.after import missed, read_after
from hpcdl.run.epochs import read_epochs
from hpcdl.run.idle_gpus import WAITS_FOR_WORKER, Setting, why_idle
from hpcdl.run.logs import slurms_words
from hpcdl.run.node_samples import last_samples
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.process_start import process_start
from hpcdl.run.records import AttemptEvent, Heartbeat, Submitted
from hpcdl.run.result import Result
from hpcdl.run.worker_paths import WorkerPaths


@dataclass(frozen=True)
class Evidence:
    """What a run's folder shows; `hpcdl.run.state` looks at nothing else.

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
        idle: why its GPUs do little, while its program runs; empty if they do enough, or if nobody
            knows.
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
    idle: str = ""

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
        is_script=not (paths.spec.exists() or paths.prediction.exists()),
        after=[before.name for before in read_after(paths)],
        missed=[str(before) for before in missed(paths)],
        idle="" if _ends_with_end(attempts) else _why_idle(paths, heartbeat),
    )


def _why_idle(paths: RunPaths, heartbeat: Heartbeat) -> str:
    """Why the GPUs of a program that runs do little, by its newest samples.

    On several nodes, workers wait for the slowest one: what that one does is the reason.
    """
    reasons = []
    for node in last_samples(paths):
        devices = node.devices
        if not devices.gpus:
            continue
        beat = Heartbeat.read(WorkerPaths(paths.root, node.rank)) if node.rank else heartbeat
        setting = Setting(devices.cpus, devices.nodes, beat.phase, time.time())
        reason = why_idle(node.samples, setting)
        if reason:
            reasons.append(f"on {node.name}, {reason}" if devices.nodes > 1 else reason)
    for reason in reasons:
        if not reason.endswith(WAITS_FOR_WORKER):
            return reason
    return reasons[0] if reasons else ""


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
