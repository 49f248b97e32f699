"""What many runs have occupied together; those that have ended are read once, and remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from hpcdl.errors import RunError
from hpcdl.run.handle import Run
from hpcdl.run.index import Occupied, Row, fingerprint
from hpcdl.run.listing import ListedRun, has_ended
from hpcdl.run.looking import look
from hpcdl.run.score import score
from hpcdl.run.usage import Usage, is_waiting_or_running, usage


class Totals(NamedTuple):
    """What runs have occupied.

    Args:
        runs: how many they are.
        gpu_hours: GPUs times hours.
        cpu_hours: CPUs times hours.
        queue_s: seconds in the queue.
        energy_j: joules, as far as they were measured.
    """

    runs: int = 0
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    queue_s: float = 0.0
    energy_j: float = 0.0

    def __add__(self, other: object) -> Totals:  # not as tuples are added
        if not isinstance(other, Totals):
            return NotImplemented
        return Totals(
            runs=self.runs + other.runs,
            gpu_hours=self.gpu_hours + other.gpu_hours,
            cpu_hours=self.cpu_hours + other.cpu_hours,
            queue_s=self.queue_s + other.queue_s,
            energy_j=self.energy_j + other.energy_j,
        )


def occupied_by(used: Usage) -> Occupied:
    """What is remembered of a run's usage."""
    queue_s = 0.0 if used.is_local else used.queue_s or 0.0
    return Occupied(used.gpu_hours, used.cpu_hours, queue_s)


def totals_of(runs: Sequence[ListedRun]) -> Totals:
    """What runs that are not sweeps have occupied, by their own files; SLURM is not asked.

    A run that was removed meanwhile is left out.
    """
    totals = Totals()
    for listed_run in runs:
        occupied = _remembered(listed_run)
        if occupied is None:
            with suppress(RunError):
                occupied = _read(listed_run)
        if occupied is not None:
            totals += Totals(1, *occupied)
    return totals


def _remembered(listed_run: ListedRun) -> Occupied | None:
    if listed_run.index is None:
        return None
    row = listed_run.index.rows.get(listed_run.key)
    if row is None or row.occupied is None:
        return None
    is_as_it_was = row.attempts == fingerprint(f"{listed_run.folder}/attempts.jsonl")
    return row.occupied if is_as_it_was else None


def _read(listed_run: ListedRun) -> Occupied:
    """What a run has occupied; if it has ended for good, that is remembered.

    Raises:
        RunError: it was removed.
    """
    # Before the run is read: what changes meanwhile makes the row count no more
    before = fingerprint(f"{listed_run.folder}/attempts.jsonl")
    paths = Run(listed_run.folder).paths
    seen = look([paths], ask=False)[0]
    status = seen.status
    used = usage(paths, not is_waiting_or_running(status.state), time.time())
    occupied = occupied_by(used)
    if listed_run.index is not None and before.is_settled() and has_ended(seen):
        text = score(paths, status, seen.evidence)
        row = Row(listed_run.created, False, before, status, text, occupied)
        listed_run.index.add(listed_run.key, row)
    return occupied
