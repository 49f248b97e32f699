"""Folds a run's files, and SLURM's word where they are silent, into one state."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcdl.run import causes, records
from hpcdl.run.logs import slurms_words
from hpcdl.run.metrics import GLANCE_BYTES, read_metrics
from hpcdl.run.paths import RunPaths
from hpcdl.run.waiting import waiting_note
from hpcdl.scheduler.slurm import UNKNOWN

FINAL = frozenset({"done", "failed", "cancelled", "lost"})


@dataclass(frozen=True)
class Evidence:
    """What a run's folder holds, and whether a local run's process is gone: `fold` looks at nothing else.

    ``slurms_word`` is SLURM's word for the end of the run's last job, where its output tells it.
    """

    submitted: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    heartbeat: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    cancelled: bool = False
    stopping: bool = False
    gone: bool = False
    slurms_word: str | None = None
    is_script: bool = False


@dataclass(frozen=True)
class Status:
    """One run's state: a word of DESIGN's list, and what a person wants to know beside it."""

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
        """Whether it stays so."""
        return self.state in FINAL


def read(paths: RunPaths) -> Evidence:
    """Read a run's files as they are now."""
    submitted = records.submitted(paths)
    gone = _is_gone(
        submitted or {}, records.attempts(paths)
    )  # before the files: its last words are then seen
    return Evidence(
        gone=gone,
        submitted=submitted,
        attempts=records.attempts(paths),
        heartbeat=records.heartbeat(paths),
        metrics=read_epochs(paths),
        result=records.result(paths),
        cancelled=paths.cancelled.exists(),
        stopping=paths.stop.exists(),
        slurms_word=_last_word(paths, submitted or {}),
        is_script=not paths.spec.exists(),
    )


def read_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """The epochs in metrics.jsonl; of a cross-validation those of all folds, each with its ``fold``.

    A script may write anything there, and a lot of it: of that the last epochs that can be used.
    """
    if not paths.spec.exists() and not paths.folds():
        return _script_epochs(paths)
    folds = paths.folds()
    if not folds:
        return records.epochs(paths)
    return [{**row, "fold": int(one.root.name)} for one in folds for row in records.epochs(one)]


def _script_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """A script's last epochs, the one that was written last at the end; without epochs, its last line."""
    metrics = read_metrics(paths.metrics, GLANCE_BYTES)
    newest = metrics.newest
    rows: list[dict[str, Any]] = []
    for row in metrics.rows:
        if "epoch" in row and "step" not in row and row is not newest:
            rows.append(dict(row))
    return [*rows, dict(newest)] if newest else rows


def fold(seen: Evidence, scheduler: Any = None) -> Status:
    """The state that the evidence shows.

    Args:
        seen: the run's files.
        scheduler: a `hpcdl.scheduler.slurm.JobInfo`, or None where nobody was asked or nothing is known.
    """
    last = seen.attempts[-1] if seen.attempts else {}
    starts = [row for row in seen.attempts if row.get("event") == "start"]
    submitted = seen.submitted or {}
    fold_now = seen.heartbeat.get("fold")
    epochs = [row for row in seen.metrics if row.get("fold") == fold_now]
    common: dict[str, Any] = {
        "job_id": submitted.get("job_id"),
        "attempt": len(starts),
        "epoch": _epoch(seen, epochs),
        "epochs": seen.heartbeat.get("epochs"),
        "fold": fold_now,
        "folds": seen.heartbeat.get("folds"),
        "metrics": epochs[-1] if epochs else {},
        "node": last.get("node"),
        "started": starts[0].get("time") if starts else None,
        "ended": last.get("time") if last.get("event") == "end" else None,
    }
    if seen.cancelled:
        return Status("cancelled", cause="cancelled", **common)
    result = seen.result or {}
    if result and last.get("event") == "end":
        return Status(
            result["state"], cause=result.get("cause"), note=result.get("message") or "", **common
        )
    if seen.submitted is None and not starts:
        return Status("created", note="it was never submitted", **common)
    if scheduler is not None and scheduler.asked < last.get("time", 0.0):
        scheduler = None  # the files are newer
    word = scheduler.state if scheduler is not None else seen.slurms_word
    ended = causes.of_slurm_state(word) if word is not None else None
    if result.get("state") == "done" and (seen.gone or ended is not None):
        return Status("done", note="killed after it had finished", **common)
    if ended is not None:
        note = _not_requeued(last) if word == "FAILED" else None
        return Status(ended.state, cause=ended.cause, note=note or ended.message or "", **common)
    if scheduler is not None and scheduler.state == UNKNOWN:
        return Status(
            "unknown", note="SLURM knows nothing of its job; hpcdl resume sends it again", **common
        )
    if seen.gone:
        return Status("lost", note="its process is gone and left no result", **common)
    pending = scheduler is not None and scheduler.state == "PENDING"
    waiting = (
        waiting_note(scheduler.reason, scheduler.start, submitted.get("job_id")) if pending else ""
    )
    if not starts:
        return Status("queued", note=waiting, **common)
    if last.get("reason") == causes.TERMINATED and not pending:
        return Status("stopping", note="SLURM ended it; waiting for its word why", **common)
    if last.get("event") == "resumed":
        return Status("queued", note=waiting, **common)
    if last.get("event") == "end" or pending:
        why = str(last.get("reason", "")).replace("_", " ")
        return Status("requeued", note=", ".join(filter(None, (why, waiting))), **common)
    state = "stopping" if seen.stopping else "running"
    return Status(state, phase=seen.heartbeat.get("phase"), **common)


def _epoch(seen: Evidence, epochs: list[dict[str, Any]]) -> int | None:
    """The last epoch: a training has written one line for each; a script numbers its own."""
    if not epochs:
        return None
    if not seen.is_script:
        return len(epochs)
    number = epochs[-1].get("epoch")
    return None if number is None else int(number)


def _not_requeued(last: dict[str, Any]) -> str | None:
    """What to say of a job that failed after its program had begun; None where it had not, or its end is known."""
    if last.get("event") == "start":
        return "its job failed, and the attempt could not say why; hpcdl resume goes on with it"
    if last.get("event") == "end" and last.get("reason") in causes.AGAIN:
        return (
            "it was to run again, but SLURM did not requeue its job; hpcdl resume goes on with it"
        )
    return None


def _last_word(paths: RunPaths, submitted: dict[str, Any]) -> str | None:
    """TIMEOUT or CANCELLED, where SLURM wrote that into the output of the run's last job: none is run after these."""
    job_ids = submitted.get("job_ids") or [submitted.get("job_id")]
    word = causes.slurm_state_of_words(slurms_words(paths, job_ids[-1])) if job_ids[-1] else None
    return word if word in ("TIMEOUT", "CANCELLED") else None


def attempt_ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How each attempt ended since the run was last resumed by hand; a later line about the same attempt holds.

    Args:
        rows: of attempts.jsonl.
    """
    ends: dict[int, dict[str, Any]] = {}
    begun = resumed_after = 0
    for row in rows:
        if row.get("event") == "start":
            begun = row["attempt"]
        elif row.get("event") == "resumed":
            resumed_after = begun
        elif row.get("event") == "end":
            ends[row["attempt"]] = row
    return [ends[n] for n in sorted(ends) if n > resumed_after]


def _is_gone(submitted: dict[str, Any], attempts: list[dict[str, Any]]) -> bool:
    """Whether a local run's processes have ended, as far as this host can tell: the first, and the last attempt's."""
    if submitted.get("backend") != "local" or submitted.get("host") != socket.gethostname():
        return False
    started = [submitted, *(row for row in attempts if row.get("event") == "start")]
    return not any(_lives(row) for row in (started[0], started[-1]))


def _lives(row: dict[str, Any]) -> bool:
    """Whether the process that a row names still runs."""
    start = process_start(int(row["pid"])) if row.get("pid") else None
    return start is not None and start == row.get("pid_start")


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None where it has ended (a zombie has).

    With the pid it names one process for good: pids are used again (proc(5), field 22 of stat).
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
