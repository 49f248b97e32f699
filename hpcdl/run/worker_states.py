"""Where each worker of a run on several nodes is, from the run's own files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpcdl.run import records
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent, Heartbeat
from hpcdl.run.worker_paths import WorkerPaths


@dataclass(frozen=True)
class WorkerState:
    """One worker of a run's last attempt.

    Args:
        rank: its number, from 0.
        node: the node that it runs on, or ran on.
        phase: what its trainer does, such as ``training``; None if that is not known.
        epoch: the epoch under way, from 1.
        step: steps so far, of all epochs.
        log: its log; it may not be there yet.
    """

    rank: int
    node: str
    phase: str | None
    epoch: int | None
    step: int | None
    log: str

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return asdict(self)

    def text(self) -> str:
        """One line for people."""
        words = [self.phase or ""]
        if self.epoch is not None:
            words.append(f"epoch {self.epoch}")
        if self.step is not None:
            words.append(f"step {self.step}")
        where = ", ".join(filter(None, words))
        return f"{named(self.rank, self.node)}: {where or self.log}"


def named(rank: int, node: str) -> str:
    """How people read of a worker."""
    return f"worker {rank} on {node}"


def nodes_of_last_attempt(events: Sequence[AttemptEvent]) -> tuple[str, ...]:
    """The nodes of the last attempt, by rank; empty if it has, or had, no worker but one.

    Args:
        events: the lines of attempts.jsonl.
    """
    for event in reversed(events):
        if event.is_start or event.is_end:
            return tuple(event.nodes) if len(event.nodes) > 1 else ()
    return ()


def worker_states(paths: RunPaths, is_running: bool) -> list[WorkerState]:
    """The workers of a run's last attempt, by rank; none if it has, or had, only one.

    Args:
        paths: the run.
        is_running: whether the attempt has not ended; else what it wrote last means nothing.
    """
    events = records.read_attempts(paths)
    nodes = nodes_of_last_attempt(events)
    starts = [event for event in events if event.is_start]
    if not nodes or not starts:
        return []
    workers = []
    for rank, node in enumerate(nodes):
        of_worker = WorkerPaths(paths.root, rank)
        heartbeat = Heartbeat.read(of_worker)
        is_old = heartbeat.attempt != starts[-1].attempt  # the nodes' clocks may differ
        if is_old or not is_running:
            heartbeat = Heartbeat()
        log = str(of_worker.log(starts[-1].attempt))
        workers.append(
            WorkerState(rank, node, heartbeat.phase, heartbeat.epoch, heartbeat.step, log)
        )
    return workers
