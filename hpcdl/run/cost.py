"""What a run cost, and how well it used what it asked for. Pure.

The shares of CPU, memory and time are those of seff (contribs/seff/seff of SLURM 22.05): CPU
seconds / (CPUs x seconds), memory / memory asked for, seconds / time limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcdl.run import states
from hpcdl.run.next_request import Needs
from hpcdl.run.usage import Request, Turn, Usage
from hpcdl.scheduler.accounting import JobRecord

_KIB_PER_GIB = 1024**2


@dataclass(frozen=True)
class Share:
    """Asked against used, in the same unit."""

    used: float
    asked: float

    @property
    def efficiency(self) -> float | None:
        """The used part of what was asked for; 1 is all. None if nothing was asked for."""
        if not self.asked:
            return None
        return self.used / self.asked


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Args:
        gpu_hours: GPUs times hours.
        cpu_hours: CPUs times hours.
        queue_s: seconds in the queue, of all attempts; None if nobody knows.
        energy_j: joules; None if nobody measured them.
        time: seconds of the longest attempt, of the time limit.
        cpu: CPU seconds used, of the CPUs' seconds; None if that is not known.
        memory: GiB used, of the GiB asked for; None if that is not known.
        gpu_use: the highest use of the GPUs that was measured, in percent.
        unknown: why figures are missing or are not exact, a sentence each.
        needs: what it needed, for the next request.
    """

    gpu_hours: float
    cpu_hours: float
    queue_s: float | None
    energy_j: float | None
    time: Share | None
    cpu: Share | None
    memory: Share | None
    gpu_use: float | None
    unknown: tuple[str, ...]
    needs: Needs


@dataclass(frozen=True)
class Ending:
    """How a run stands: its state and its cause, words of `states` and `causes`."""

    state: str
    cause: str | None = None


def cost_of(
    usage: Usage, attempts: Sequence[JobRecord] | None, ending: Ending, why: str = ""
) -> Cost:
    """What a run cost.

    Args:
        usage: by its own files.
        attempts: its jobs' attempts by SLURM's accounting; None if that was not asked, or did not
            answer.
        ending: how the run stands.
        why: why accounting has no answer.
    """
    turns = [_measured(turn, attempts or ()) for turn in usage.turns]
    whole = replace(usage, turns=turns)
    started = [attempt for attempt in attempts or () if attempt.start is not None]
    waited_s = usage.queue_s
    if started:
        waited_s = sum(_waited_s(attempt) for attempt in started)
    energies = [attempt.energy_j for attempt in started if attempt.energy_j]
    uses = [attempt.gpu_use for attempt in started if attempt.gpu_use is not None]
    unknown = _unmeasured(turns)
    if turns:
        unknown += _why_unknown(usage, attempts, why)
    return Cost(
        gpu_hours=whole.gpu_hours,
        cpu_hours=whole.cpu_hours,
        queue_s=waited_s,
        energy_j=sum(energies) if energies else None,
        time=_time_share(usage.request, turns, started),
        cpu=_cpu_share(started),
        memory=_memory_share(started, turns),
        gpu_use=max(uses, default=None),
        unknown=tuple(unknown),
        needs=_needs(whole, started, ending),
    )


def _measured(turn: Turn, attempts: Sequence[JobRecord]) -> Turn:
    """An attempt with the end that accounting knows, if nobody else wrote it down."""
    if turn.is_measured or turn.started is None:
        return turn
    for attempt in attempts:
        if attempt.job_id != turn.job_id or attempt.start is None:
            continue
        end = attempt.start + attempt.elapsed_s
        if attempt.start - 1 <= turn.started <= end + 1:
            seconds = max(0.0, end - turn.started)
            return replace(turn, seconds=seconds, is_measured=True)
    return turn


def _waited_s(attempt: JobRecord) -> float:
    """How long an attempt waited from when it might have started; SLURM's word is `Reserved`."""
    if attempt.start is None or attempt.eligible is None:
        return 0.0
    return max(0.0, attempt.start - attempt.eligible)


def _time_share(
    request: Request, turns: Sequence[Turn], started: Sequence[JobRecord]
) -> Share | None:
    """The longest attempt, of the time limit."""
    longest: Share | None = None
    for attempt in started:
        asked_s = attempt.time_limit_s or request.time_limit_s
        if longest is None or attempt.elapsed_s > longest.used:
            longest = Share(attempt.elapsed_s, asked_s)
    if longest is None and turns:
        longest = Share(max(turn.seconds for turn in turns), request.time_limit_s)
    return longest


def _cpu_share(started: Sequence[JobRecord]) -> Share | None:
    """CPU seconds of all attempts that have ended, of their CPUs' seconds."""
    used_s = asked_s = 0.0
    for attempt in started:
        if attempt.cpu_s is not None and attempt.elapsed_s:
            used_s += attempt.cpu_s
            asked_s += attempt.cpus * attempt.elapsed_s
    return Share(used_s, asked_s) if asked_s else None


def _memory_share(started: Sequence[JobRecord], turns: Sequence[Turn]) -> Share | None:
    """Memory of the attempt that used most, in GiB; asked is 0 if nobody knows what it asked for.

    SLURM looks at a job now and then only. Where launch saw a larger process, that counts.
    """
    largest = Share(_peak_gb(turns), 0.0)
    asked_gb = 0.0
    for attempt in started:
        asked_gb = (attempt.asked_memory_kib or 0.0) / _KIB_PER_GIB
        used_gb = (attempt.used_memory_kib or 0.0) / _KIB_PER_GIB
        if used_gb > largest.used:
            largest = Share(used_gb, asked_gb)
    if not largest.used:
        return None
    return Share(largest.used, largest.asked or asked_gb)


def _peak_gb(turns: Sequence[Turn]) -> float:
    """The largest process of all attempts, in GiB, as launch measured it."""
    return max((turn.peak_memory_gb or 0.0 for turn in turns), default=0.0)


def _unmeasured(turns: Sequence[Turn]) -> list[str]:
    numbers = [str(turn.number) for turn in turns if not turn.is_measured]
    if not numbers:
        return []
    noun = "attempt" if len(numbers) == 1 else "attempts"
    return [
        f"nobody wrote down the end of {noun} {', '.join(numbers)}: "
        "counted to the last sign of life"
    ]


def _why_unknown(usage: Usage, attempts: Sequence[JobRecord] | None, why: str) -> list[str]:
    """Why figures of SLURM's accounting are missing."""
    if usage.is_local:
        return ["CPU is not known, and memory is the largest process's: it ran without SLURM"]
    if attempts is None:
        missing = "CPU and energy are not known, and memory is the largest process's"
        return [f"{missing}: {why or 'SLURM was not asked'}"]
    if not attempts:
        return ["CPU is not known: accounting has not heard of its job yet"]
    ended = [attempt for attempt in attempts if attempt.cpu_s is not None]
    sentences = []
    if not ended:
        sentences.append("CPU is not known: accounting tells it when an attempt has ended")
    elif not any(attempt.elapsed_s for attempt in ended):
        sentences.append("CPU is not known: its job took less than a second")
    by_slurm_kib = max((attempt.used_memory_kib or 0.0 for attempt in attempts), default=0.0)
    if ended and by_slurm_kib / _KIB_PER_GIB < _peak_gb(usage.turns):
        sentences.append("memory is the largest process's: SLURM looked at its job too seldom")
    if usage.request.gpus and all(attempt.gpu_use is None for attempt in attempts):
        sentences.append("the use of the GPUs is not known: this SLURM does not measure it")
    return sentences


def _needs(usage: Usage, started: Sequence[JobRecord], ending: Ending) -> Needs:
    """What a run needed, as far as that is known."""
    busy = []
    for attempt in started:
        if attempt.cpu_s is not None and attempt.elapsed_s:
            busy.append(attempt.cpu_s / attempt.elapsed_s / attempt.nodes)
    memory_gb = None
    if not usage.is_local:
        memory_gb = _needed_memory_gb(usage, started, ending)
    return Needs(_needed_s(usage, started, ending.state), memory_gb, max(busy, default=None))


def _needed_memory_gb(usage: Usage, started: Sequence[JobRecord], ending: Ending) -> float | None:
    """GiB on one node. Who ran out of memory needed more than the job had."""
    needed_gb = [_peak_gb(usage.turns)]
    ran_out = ending.cause == "out_of_memory"
    for attempt in started:
        needed_kib = attempt.used_memory_kib or 0.0
        if ran_out or attempt.state == "OUT_OF_MEMORY":
            needed_kib = max(needed_kib, attempt.asked_memory_kib or 0.0)
        needed_gb.append(needed_kib / _KIB_PER_GIB / attempt.nodes)
    if ran_out:
        needed_gb.append(usage.request.memory_gb or 0.0)
    return max(needed_gb, default=0.0) or None


def _needed_s(usage: Usage, started: Sequence[JobRecord], state: str) -> float | None:
    """Seconds to end in one attempt. Who reached the time limit needs those of all attempts."""
    hit_limit = any(turn.reason == states.TIME_LIMIT for turn in usage.turns)
    hit_limit = hit_limit or any(attempt.state == "TIMEOUT" for attempt in started)
    if not usage.turns or (state != states.DONE and not hit_limit):
        return None
    by_slurm = [float(attempt.elapsed_s) for attempt in started]
    by_files = [turn.seconds for turn in usage.turns]
    if hit_limit:
        return max(sum(by_slurm), sum(by_files))
    return max([*by_slurm, *by_files])
