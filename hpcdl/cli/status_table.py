"""The table of ``hpcdl status``: a line for each run, and for each sweep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcdl.cli.entries import Entry, SweepEntry
from hpcdl.cli.sweep_table import sweep_note
from hpcdl.contract.tables import aligned
from hpcdl.formats import cut, duration

if TYPE_CHECKING:
    from hpcdl.run.listing import RunStatus
    from hpcdl.run.state import Status
    from hpcdl.sweeps.overview import SweepOverview

HEADING = ["RUN", "STATE", "JOB", "EPOCH", "VAL ACC", "ELAPSED", "NOTE"]
ELAPSED = HEADING.index("ELAPSED")
_LONGEST_NOTE = 90  # characters; a sweep's is longer


def table(entries: Sequence[Entry]) -> list[str]:
    """The lines of the table."""
    return aligned([HEADING, *(cells_of(entry) for entry in entries)])


def cells_of(entry: Entry) -> list[str]:
    """A run's or a sweep's cells, in the order of `HEADING`."""
    if isinstance(entry, SweepEntry):
        return _sweep_cells(entry)
    run = entry.run
    return [
        run.name,
        run.status.state,
        run.status.job_id or "local",
        _epoch(run.status),
        _validation_accuracy(run.status),
        _elapsed(run.status.started, run.status.ended),
        cut(_note(run), _LONGEST_NOTE),
    ]


def _sweep_cells(entry: SweepEntry) -> list[str]:
    overview = entry.overview
    if overview is None:
        return [entry.name, entry.state, "-", "-", "-", "-", f"sweep: {entry.error}"]
    return [
        entry.name,
        overview.state,
        overview.job_ids[-1] if overview.job_ids else "local",
        "-",
        _best_accuracy(overview),
        _elapsed(overview.started, overview.ended),
        sweep_note(overview),
    ]


def _best_accuracy(overview: SweepOverview) -> str:
    for trial in overview.best(1):
        if overview.settings.metric == "val_accuracy" and trial.value is not None:
            return f"{trial.value:.4f}"
    return "-"


def _epoch(status: Status) -> str:
    if not status.epochs:  # a script does not say how many there will be
        return str(status.epoch) if status.epoch else "-"
    fold = f", fold {status.fold}/{status.folds}" if status.fold else ""
    return f"{status.epoch or 0}/{status.epochs}{fold}"


def _validation_accuracy(status: Status) -> str:
    accuracy = status.metrics.get("val_accuracy")
    return f"{accuracy:.4f}" if isinstance(accuracy, float) else "-"


def _elapsed(started: float | None, ended: float | None) -> str:
    if not started:
        return "-"
    return duration((ended or time.time()) - started)


def _note(run: RunStatus) -> str:
    """The score, the attempt, the cause of the end and the first line of the note."""
    status = run.status
    parts = [run.score]
    if status.attempt > 1:
        parts.append(f"attempt {status.attempt}")
    reasons = []
    if status.cause and status.cause != status.state:
        reasons.append(status.cause.replace("_", " "))
    if status.note:
        reasons.append(status.note.splitlines()[0])
    parts.append(": ".join(filter(None, reasons)))
    return ", ".join(filter(None, parts))
