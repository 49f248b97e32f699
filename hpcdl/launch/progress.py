"""Whether a trainer moves: by its heartbeats, its log, its reading and writing, its CPU time. Pure.

**A step.** The trainer writes a heartbeat when its main thread has done something: a call of steps
(``training``), a batch (``evaluating``, ``features``), a block (``predicting``), or when it begins
another phase. No thread beats on its own, so a new heartbeat is progress in each phase.

**A sign of life.** Much takes long without a heartbeat: an image from a slow disk, the import of
TensorFlow, `data.function`, the building and compiling of a model, a checkpoint, an export. Then
these count, as far as they are trusted:

- the log grows. A write that is tried again says so there, until its own limit;
- the program reads or writes 1 MiB or more in a minute;
- it uses more than 1 % of a CPU.

| phase | one replica | several replicas |
|---|---|---|
| ``starting``, ``loading`` | always | always |
| ``training``, from its second call on | for 2 hours | for 2 hours, but not CPU time |
| each other one | always | for 2 hours |

Replicas that wait for each other for ever may keep a CPU busy (NCCL does), and so may a dead GPU.

**The limit** of silence is 5 minutes where heartbeats count steps, batches or blocks, and 20 times
the usual time between two of them, and twice the longest (the first one traces and compiles).
Before the second of them, and in each other phase, it is 10 minutes; in ``saving`` also twice as
long as a failed write is tried again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from hpcdl.contract.retry import retry_s

STEP_S = 300.0  # HPCDL_STALL_S takes its place; 0 switches the watchdog off
_USUAL = 20  # times the usual time between two heartbeats
_LONGEST = 2
_REMEMBERED = 32  # times between two heartbeats
_WINDOW_S = 60.0  # over which CPU time, reading and writing are looked at
_CPU = 0.01  # of one CPU; a trainer of several that waits in vain uses less
_BYTES_PER_S = 2**20 / 60
_TRUST = 24  # times the limit of a step: 2 hours
_COUNTED = ("training", "evaluating", "features", "predicting")
_ALONE = ("starting", "loading")  # nothing waits for another replica there
STARTING, TRAINING, SAVING = "starting", "training", "saving"


@dataclass(frozen=True)
class Signs:
    """What one look at a trainer and its files shows.

    Args:
        phase: by its newest heartbeat; ``starting`` if there is none yet.
        beat: what tells one heartbeat from the next; None if there is none yet.
        step: its step, by the same.
        log_bytes: the size of its log.
        cpu_s: the CPU seconds of its processes.
        moved_bytes: what these have read and written.
        waits_for_disk: whether one of their threads waits for a file system.
    """

    phase: str = STARTING
    beat: object = None
    step: int | None = None
    log_bytes: int = 0
    cpu_s: float = 0.0
    moved_bytes: int = 0
    waits_for_disk: bool = False


class Progress:
    """Follows one trainer, look by look.

    Args:
        now_s: the time. Each time here is in seconds of a clock that stands still while the
            trainer is suspended.
        replicas: how many there are, of all workers.
        step_s: the limit where heartbeats count steps; the others are multiples of it.
    """

    def __init__(self, now_s: float, replicas: int, step_s: float = STEP_S) -> None:
        self.step_s = step_s
        self.signs = Signs()
        self._several = replicas > 1
        self._beat_s = self._life_s = self._now_s = now_s
        self._between: deque[float] = deque(maxlen=_REMEMBERED)
        self._longest_s = 0.0
        self._beats = 0  # of this phase, with the one that began it
        self._window = now_s, self.signs

    def see(self, now_s: float, signs: Signs) -> None:
        """Take what a look shows."""
        before, self.signs, self._now_s = self.signs, signs, now_s
        if signs.phase != before.phase:
            self._between.clear()
            self._longest_s = 0.0
            self._beats = 0
        if signs.beat != before.beat:
            if self._beats:
                self._between.append(now_s - self._beat_s)
                self._longest_s = max(self._longest_s, now_s - self._beat_s)
            self._beats += 1
            self._beat_s = self._life_s = now_s
            self._window = now_s, signs
            return
        if signs.log_bytes != before.log_bytes and self._trusts(cpu=False):
            self._life_s = now_s
        began_s, began = self._window
        seconds = now_s - began_s
        if seconds < min(_WINDOW_S, self.step_s / 4):
            return
        self._window = now_s, signs
        moves = signs.moved_bytes - began.moved_bytes >= _BYTES_PER_S * seconds
        works = signs.cpu_s - began.cpu_s >= _CPU * seconds
        if (moves and self._trusts(cpu=False)) or (works and self._trusts(cpu=True)):
            self._life_s = now_s

    def begin_anew(self) -> None:
        """Count from now on: heartbeats could not be written."""
        self._beat_s = self._life_s = self._now_s

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat or sign of life."""
        return self._now_s - self._life_s

    @property
    def beatless_s(self) -> float:
        """Seconds since the last heartbeat."""
        return self._now_s - self._beat_s

    @property
    def limit_s(self) -> float:
        """How long it may be silent now."""
        if self._counts_steps:
            usual_s = _USUAL * median(self._between)
            return max(self.step_s, usual_s, _LONGEST * self._longest_s)
        if self.signs.phase == SAVING:
            return max(2 * self.step_s, 2 * retry_s())
        return 2 * self.step_s

    @property
    def is_over(self) -> bool:
        """Whether it has been silent for too long."""
        return self.silent_s > self.limit_s

    @property
    def _counts_steps(self) -> bool:
        return self.signs.phase in _COUNTED and bool(self._between)

    def _trusts(self, cpu: bool) -> bool:
        """Whether a sign of life counts.

        Args:
            cpu: whether it is CPU time.
        """
        if self.signs.phase in _ALONE:
            return True
        trains = self.signs.phase == TRAINING and self._counts_steps
        if trains and self._several and cpu:
            return False
        if not trains and not self._several:
            return True
        return self._now_s - self._beat_s <= _TRUST * self.step_s

    def __str__(self) -> str:
        place = self.signs.phase
        if self.signs.step is not None:
            place += f", step {self.signs.step:,}"
        if self.signs.waits_for_disk:
            place += "; it waits for a file system"
        return f"no progress for {self.silent_s:.0f} s ({place}; limit {self.limit_s:.0f} s)"
