"""What to ask for next time, from what runs of a job needed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl.run.usage import Request

_TIME_ROOM = 1.2
_MEMORY_ROOM = 1.25
_CPU_ROOM = 1.25
_QUARTER_S = 15 * 60
_P95 = 0.95


@dataclass(frozen=True)
class Needs:
    """What one run needed at most, as far as that is known.

    Args:
        seconds: to end in one attempt; None if it did not end by itself.
        memory_gb: on one node, in GiB.
        busy_cpus: on one node, on average over its busiest attempt.
    """

    seconds: float | None = None
    memory_gb: float | None = None
    busy_cpus: float | None = None


@dataclass(frozen=True)
class Suggestion:
    """What to ask for next time.

    Args:
        time_s: the time limit; None if no run tells.
        memory_gb: memory in whole GiB; None if no run tells, or the site gives it with the CPUs.
        cpus: CPUs; None if no run tells.
        notes: why a part is missing.
    """

    time_s: int | None = None
    memory_gb: int | None = None
    cpus: int | None = None
    notes: tuple[str, ...] = ()


def suggestion(request: Request, needs: Sequence[Needs]) -> Suggestion:
    """The next request of a job, never below what its runs used.

    Time is the longest run's x 1.2 (of many runs the 95th percentile's), rounded up to a quarter of
    an hour; memory the most x 1.25, in whole GiB; CPUs those that were busy x 1.25.

    Args:
        request: what the newest run asked for.
        needs: what each run needed.
    """
    notes: list[str] = []
    seconds = sorted(need.seconds for need in needs if need.seconds is not None)
    time_s = None
    if seconds:
        time_s = suggested_time_s(seconds)
    else:
        notes.append("no time: no run of it shows how long it takes")
    most_gb = max((need.memory_gb or 0.0 for need in needs), default=0.0)
    memory_gb = None
    if most_gb and request.names_memory:
        memory_gb = math.ceil(most_gb * _MEMORY_ROOM)
    elif most_gb:
        notes.append("no memory: here it comes with the CPUs")
    busy = max((need.busy_cpus or 0.0 for need in needs), default=0.0)
    cpus = None
    if busy:
        cpus = min(max(1, math.ceil(busy * _CPU_ROOM)), max(request.cpus, math.ceil(busy)))
        if not request.names_memory:
            cpus = _with_memory(request, cpus, most_gb)
            if cpus is None:
                notes.append("no CPUs: memory comes with them, and its use is not known")
    return Suggestion(time_s, memory_gb, cpus, tuple(notes))


def suggested_time_s(seconds: Sequence[float]) -> int:
    """The time limit to ask for.

    Args:
        seconds: how long each run took, at least one.
    """
    ordered = sorted(seconds)
    enough_s = max(percentile(ordered, _P95) * _TIME_ROOM, ordered[-1])
    return math.ceil(enough_s / _QUARTER_S) * _QUARTER_S or _QUARTER_S


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that is at least as large as this share of them.

    Args:
        ordered: the values, the smallest first; at least one.
        share: 0.95 for the 95th percentile.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _with_memory(request: Request, cpus: int, most_gb: float) -> int | None:
    """CPUs that bring enough memory along; None if nobody knows how much they bring."""
    if not most_gb or request.memory_gb is None:
        return None
    gb_per_cpu = request.memory_gb / request.cpus
    return min(request.cpus, max(cpus, math.ceil(most_gb * _MEMORY_ROOM / gb_per_cpu)))
