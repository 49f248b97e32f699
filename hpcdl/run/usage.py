"""How long a run's attempts took and what they occupied, by the run's own files, at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hpcdl.run import records, states
from hpcdl.run.kinds import Record
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent, Heartbeat, Submitted

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Request:
    """What a run asks for (plan.json).

    Args:
        nodes: how many nodes, at most.
        gpus: GPUs per node.
        cpus: CPUs per node.
        memory_gb: memory per node in GiB; None if the profile does not know it.
        time_limit_s: how long an attempt may take.
        names_memory: whether the job names its memory; else the site gives it with the CPUs.
    """

    nodes: int = 1
    gpus: int = 0
    cpus: int = 1
    memory_gb: float | None = None
    time_limit_s: int = 0
    names_memory: bool = False

    @property
    def all_gpus(self) -> int:
        """The GPUs of all nodes."""
        return self.gpus * self.nodes

    @property
    def reserved_gpu_hours(self) -> float:
        """GPU-hours of one attempt that takes all its time."""
        return self.all_gpus * self.time_limit_s / _HOUR_S


@dataclass(frozen=True)
class Turn:
    """One attempt of a run.

    Args:
        number: the attempt's, from 1.
        job_id: SLURM's id of its job; None on a machine without SLURM.
        started: when it started (unix time).
        seconds: how long it ran, or has run until now.
        is_measured: whether its end was written down; else ``seconds`` reach to its last sign of
            life.
        reason: why it ended, one of the words of `states`; None while it runs.
        peak_memory_gb: the most memory of one process, in GiB; None if that is not known.
        nodes: how many nodes it had; None if that is as many as the run asks for.
    """

    number: int
    job_id: str | None = None
    started: float | None = None
    seconds: float = 0.0
    is_measured: bool = True
    reason: str | None = None
    peak_memory_gb: float | None = None
    nodes: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a run has occupied so far.

    Args:
        request: what each attempt occupies.
        turns: its attempts, in order.
        queue_s: how long it waited, before the first attempt and between attempts; None if its
            files do not tell.
        job_ids: SLURM's ids of its jobs.
        sent: when it was sent first (unix time).
        is_local: whether it runs on this machine without SLURM.
        share: the part of its jobs that it occupies: trials of a sweep may share a GPU.
    """

    request: Request
    turns: Sequence[Turn] = ()
    queue_s: float | None = 0.0
    job_ids: Sequence[str] = ()
    sent: float = 0.0
    is_local: bool = False
    share: float = 1.0

    @property
    def seconds(self) -> float:
        """Seconds of all attempts together."""
        return sum(turn.seconds for turn in self.turns)

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours, of all nodes and attempts."""
        return self.request.gpus * self._node_hours

    @property
    def cpu_hours(self) -> float:
        """CPUs times hours, of all nodes and attempts."""
        return self.request.cpus * self._node_hours

    @property
    def _node_hours(self) -> float:
        seconds = 0.0
        for turn in self.turns:
            seconds += turn.seconds * (turn.nodes or self.request.nodes)
        return seconds * self.share / _HOUR_S


def request_of(plan: Record) -> Request:
    """What a run asks for, from `records.plan`."""
    options = {option for option, _ in plan.get("directives", ())}
    return Request(
        nodes=plan.get("nodes", 1),
        gpus=plan.get("gpus", 0),
        cpus=plan.get("cpus", 1),
        memory_gb=plan.get("memory_gb"),
        time_limit_s=plan.get("time_limit_s", 0),
        names_memory=bool(options & {"mem", "mem-per-cpu", "mem-per-gpu"}),
    )


def usage(paths: RunPaths, is_over: bool, now: float) -> Usage:
    """Read what a run has occupied.

    Args:
        paths: the run.
        is_over: whether it has ended for good, so that no attempt of it runs.
        now: the present time (unix time).
    """
    plan = records.plan(paths)
    request = request_of(plan)
    submitted = Submitted.read(paths) or Submitted()
    events = records.read_attempts(paths)

    def last_sign(number: int) -> float:
        return _last_sign(paths, number)

    turns = turns_of(events, None if is_over else now, last_sign, request.time_limit_s)
    is_local = submitted.backend == "local"
    if is_local and plan.get("emulate_gpus"):
        request = replace(request, gpus=0)
    return Usage(
        request=request,
        turns=turns,
        queue_s=queue_s(events, submitted.time),
        job_ids=submitted.all_job_ids,
        sent=submitted.time or 0.0,
        is_local=is_local,
    )


def turns_of(
    events: Sequence[AttemptEvent],
    now: float | None,
    last_sign: Callable[[int], float],
    time_limit_s: int,
) -> list[Turn]:
    """The attempts of a run.

    Args:
        events: the lines of attempts.jsonl.
        now: the present time (unix time); None if no attempt can be running.
        last_sign: gives the last sign of life of an attempt (unix time).
        time_limit_s: an attempt whose end nobody wrote down lasted no longer than that.
    """
    starts = [event for event in events if event.is_start]
    ends = {event.attempt: event for event in events if event.is_end}
    turns = []
    for start in starts:
        end = ends.get(start.attempt)
        is_last = start is starts[-1]
        is_measured = end is not None and end.seconds is not None
        seconds = 0.0
        if end is not None and end.seconds is not None:
            seconds = end.seconds
        elif start.time is not None:
            runs = end is None and is_last and now is not None
            until = now if runs and now is not None else last_sign(start.attempt)
            seconds = min(max(0.0, until - start.time), float(time_limit_s or until))
            is_measured = runs
        turns.append(
            Turn(
                number=start.attempt,
                job_id=start.job_id,
                started=start.time,
                seconds=seconds,
                is_measured=is_measured,
                reason=None if end is None else end.reason,
                peak_memory_gb=None if end is None else end.peak_memory_gb,
                nodes=len(start.nodes) or None,
            )
        )
    return turns


def queue_s(events: Sequence[AttemptEvent], sent: float | None) -> float:
    """Seconds that a run waited, by its own files: before each attempt that has started.

    Args:
        events: the lines of attempts.jsonl.
        sent: when it was sent first (unix time).
    """
    waited_s = 0.0
    since = sent
    for event in events:
        if not event.is_start:  # it ended, or somebody sent it again
            since = event.time
        elif since is not None and event.time is not None:
            waited_s += max(0.0, event.time - since)
            since = None
    return waited_s


def _last_sign(paths: RunPaths, number: int) -> float:
    """When an attempt was last seen alive (unix time): its log grew, or the trainer said so."""
    latest = 0.0
    with suppress(OSError):
        latest = os.stat(paths.log(number)).st_mtime
    beat = Heartbeat.read(paths).time or 0.0
    return max(latest, beat)


def is_waiting_or_running(state: str) -> bool:
    """Whether a run in this state still holds, or will hold, what it asked for."""
    return state not in states.FINAL and state != states.CREATED
