"""The watchdog: ends a trainer that stands still, after its stacks are in the log.

What counts as progress, and for how long a trainer may be silent: see `hpcdl.launch.progress`.
Scripts are not watched: nobody knows what they do when they say nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hpcdl.files import write_text
from hpcdl.launch.process_use import use_of_tree
from hpcdl.launch.processes import kill_tree
from hpcdl.launch.progress import STARTING, STEP_S, Progress, Signs
from hpcdl.launch.retry import say
from hpcdl.launch.trainer_processes import ask_for_stacks, is_suspended, waits_for_disk
from hpcdl.planning import Plan
from hpcdl.run import records, states
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Heartbeat

VARIABLE = "HPCDL_STALL_S"
LOOK_S = 5.0
_STACKS_S = 3.0  # for writing them
_MOST_TICK_S = 10.0  # looks come more often, unless this process is suspended, too
_PROBE = b"." * 4096


class Judge(Protocol):
    """Decides whether a trainer is to end."""

    def verdict(self, progress: Progress) -> str:
        """Why it is to end; empty if it may go on."""


class AwakeClock:
    """Seconds in which this process was awake, for a job or a machine may be suspended.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.now_s = 0.0

    @property
    def since_tick_s(self) -> float:
        """Seconds since the last tick."""
        return self._clock() - self._last

    def tick(self, counts: bool = True) -> float:
        """Go on to the present, from the last tick. A long time between two is a short one.

        Args:
            counts: whether the time since then counts.
        """
        now = self._clock()
        elapsed_s, self._last = max(0.0, now - self._last), now
        if counts:
            self.now_s += min(elapsed_s, _MOST_TICK_S)
        return self.now_s


class Watchdog:
    """A watcher that ends a trainer if its judge says so.

    Args:
        paths: the run, as the trainer writes it.
        attempt: the attempt's number, from 1.
        progress: of the trainer.
        judge: decides.
        clock: gives seconds.

    ``message`` says why the trainer was ended; empty if it was not.
    """

    def __init__(
        self,
        paths: RunPaths,
        attempt: int,
        progress: Progress,
        judge: Judge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.message = ""
        self._paths = paths
        self._attempt = attempt
        self._progress = progress
        self._judge = judge
        self._clock = AwakeClock(clock)
        self._every_s = look_every_s(progress.step_s)
        self._kill_at_s = 0.0

    def look(self, now: float, pid: int) -> None:
        """Look at the trainer, if it is time; end it, if the judge says so."""
        if self.message:
            if self._clock.tick() >= self._kill_at_s:
                kill_tree(pid)
            return
        if self._clock.since_tick_s < self._every_s:
            return
        now_s = self._clock.tick(counts=not is_suspended(pid))
        self._progress.see(now_s, self._signs(pid))
        message = self._judge.verdict(self._progress)
        if message:
            self.message, self._kill_at_s = message, now_s + _STACKS_S
            lines = [f"hpcdl: stall: {message}", "hpcdl: where its threads are:"]
            append_lines(self._paths.log(self._attempt), lines)
            say(f"stall: {message}; the log has the stacks of its threads")
            ask_for_stacks(pid)

    def _signs(self, pid: int) -> Signs:
        beat = Heartbeat.read(self._paths)
        if beat.attempt != self._attempt:
            beat = Heartbeat()  # of an earlier attempt
        log_bytes = 0
        with suppress(OSError):
            log_bytes = self._paths.log(self._attempt).stat().st_size
        use = use_of_tree(pid)
        is_silent = self._progress.silent_s > self._progress.limit_s / 4
        return Signs(
            phase=beat.phase or STARTING,
            beat=beat.time,
            step=beat.step,
            log_bytes=log_bytes,
            cpu_s=0.0 if use is None else use.cpu_s,
            moved_bytes=0 if use is None else (use.read_b or 0) + (use.written_b or 0),
            waits_for_disk=is_silent and waits_for_disk(pid),
        )


class Alone:
    """The judge of a trainer that is the only one of its run.

    Args:
        folder: where it writes its heartbeats.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def verdict(self, progress: Progress) -> str:
        """Why it is to end: it has been silent for too long, and could have said something."""
        if progress.silent_s <= progress.limit_s / 2:
            return ""
        if not can_be_written(self._folder):
            progress.begin_anew()
        return str(progress) if progress.is_over else ""


def watchdog_of(paths: RunPaths, plan: Plan, attempt: int, judge: Judge) -> Watchdog | None:
    """The watchdog of a run's program on this node; None if it is not to be watched.

    Args:
        paths: the run, as the program writes it.
        plan: its plan.
        attempt: the attempt's number, from 1.
        judge: decides.
    """
    step_s = stall_s(plan)
    if not plan.program.keeps_state or step_s <= 0:
        return None
    replicas = max(1, plan.size.gpus) * max(1, plan.size.nodes)
    return Watchdog(paths, attempt, Progress(0.0, replicas, step_s), judge)


def stall_s(plan: Plan) -> float:
    """The limit where heartbeats count steps, in seconds; 0 if nothing is to be watched.

    HPCDL_STALL_S says another one than the usual: in the job's ``env``, or where launch runs.

    Args:
        plan: the plan.
    """
    text = plan.environment.env.get(VARIABLE) or os.environ.get(VARIABLE) or ""
    try:
        return max(0.0, float(text))
    except ValueError:
        return STEP_S


def look_every_s(step_s: float) -> float:
    """Seconds between two looks.

    Args:
        step_s: the limit where heartbeats count steps.
    """
    return min(LOOK_S, step_s / 8)


def variables_after_stall(paths: RunPaths, plan: Plan) -> dict[str, str]:
    """What the program gets if an attempt has stalled on several GPUs of a node.

    What the job says itself stays.

    GPUs that cannot reach each other directly are the usual reason. Source:
    https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html (NCCL_P2P_DISABLE).

    Args:
        paths: the run.
        plan: its plan.
    """
    ends = records.attempt_ends(records.read_attempts(paths))
    if plan.size.gpus < 2 or plan.size.emulate_gpus or not ends:
        return {}
    env = plan.environment.env
    has_stalled = any(end.reason == states.STALLED for end in ends)
    if not has_stalled or "NCCL_P2P_DISABLE" in env:
        return {}
    variables = {"NCCL_P2P_DISABLE": "1"}
    if "NCCL_DEBUG" not in env:
        variables["NCCL_DEBUG"] = "WARN"
    return variables


def can_be_written(folder: Path) -> bool:
    """Whether a heartbeat can be written: on a full disk a trainer goes on without.

    Args:
        folder: where it is written.
    """
    path = folder / ".stall"
    try:
        write_text(path, _PROBE.decode())
        path.unlink()
    except OSError:
        return False
    return True


def append_lines(log: Path, lines: list[str]) -> None:
    """Add lines to a log, if it can be written.

    Args:
        log: its path.
        lines: the lines.
    """
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
