"""The watchdog over several nodes: a stall is one only if no worker moves.

A worker may wait for the others as long as one of them works. So each member writes down how long
its own worker has been silent, and the batch host decides for all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hpcdl.errors import SchedulerError
from hpcdl.files import read_json, write_json, write_text
from hpcdl.launch.meeting import look_anew
from hpcdl.launch.member_end import read_ends
from hpcdl.launch.processes import kill_tree
from hpcdl.launch.progress import Progress
from hpcdl.launch.retry import keep_trying, say
from hpcdl.launch.stall import AwakeClock, append_lines, can_be_written, look_every_s
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Heartbeat
from hpcdl.run.worker_paths import WorkerPaths, meeting
from hpcdl.scheduler import slurm

_NOTE_S = 60.0  # between two notes of a worker without heartbeats
_REQUEST = "stacks"
_UNHEARD = 3  # times the limit of a step: of a member that says nothing, its heartbeat neither
_END_S = 90.0  # a network file system may show the request to the others only after a minute


@dataclass(frozen=True)
class Note:
    """What a member says of its worker, which has written no heartbeat for a while.

    Args:
        rank: the worker's number, from 0.
        node: its node's name.
        is_over: whether it has been silent for too long.
        words: where it stands.
        number: of the note, from 1: a new one shows that the member lives.
    """

    rank: int
    node: str
    is_over: bool
    words: str
    number: int


class OneOfSeveral:
    """The judge of one of several workers: it asks the batch host.

    Args:
        folder: where the members of the attempt meet.
        rank: the worker's number, from 0.
        node: this node's name.
        clock: gives seconds.
    """

    def __init__(
        self, folder: Path, rank: int, node: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._rank = rank
        self._node = node
        self._clock = clock
        self._note: Note | None = None
        self._noted_at = 0.0

    def verdict(self, progress: Progress) -> str:
        """What the batch host says."""
        quiet_s = min(_NOTE_S, progress.limit_s / 2)
        if progress.silent_s > quiet_s:
            if not can_be_written(self._folder):
                progress.begin_anew()
            self._write(progress)
            look_anew(self._folder)
        elif progress.beatless_s > quiet_s:  # it works: the batch host sees its heartbeats alone
            self._write(progress)
        elif self._note is not None:
            self._note = None
            with suppress(OSError):
                _note_path(self._folder, self._rank).unlink()
        with suppress(OSError):
            return (self._folder / _REQUEST).read_text(encoding="utf-8").strip()
        return ""

    def _write(self, progress: Progress) -> None:
        before, now = self._note, self._clock()
        every_s = min(_NOTE_S, progress.step_s / 4)
        is_new = before is None or before.is_over != progress.is_over
        if not is_new and now - self._noted_at < every_s:
            return
        number = 1 if before is None else before.number + 1
        self._note = Note(self._rank, self._node, progress.is_over, str(progress), number)
        self._noted_at = now
        with suppress(OSError):
            write_json(_note_path(self._folder, self._rank), asdict(self._note))


class StepWatchdog:
    """A watcher on the batch host that ends a step of which no worker moves.

    Args:
        paths: the run.
        attempt: the attempt's number, from 1.
        nodes: the nodes' names, by rank.
        step_s: the limit where heartbeats count steps.
        clock: gives seconds.

    ``message`` says why it was ended; empty if it was not.
    """

    def __init__(
        self,
        paths: RunPaths,
        attempt: int,
        nodes: Sequence[str],
        step_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.message = ""
        self._paths = paths
        self._attempt = attempt
        self._nodes = nodes
        self._step_s = step_s
        self._folder = meeting(paths, attempt)
        self._job_id = os.environ.get("SLURM_JOB_ID", "")
        self._clock = AwakeClock(clock)
        self._kill_at_s = 0.0
        self._heard: dict[int, tuple[object, float]] = {}  # by rank: what, and when it was new

    def look(self, now: float, pid: int) -> None:
        """Look at what the members say, if it is time; end the step if nobody moves."""
        if self.message:
            if self._clock.tick() >= self._kill_at_s:
                kill_tree(pid)
            return
        if self._clock.since_tick_s < look_every_s(self._step_s):
            return
        now_s = self._clock.tick()
        lines = self._standing(now_s)
        if lines:
            self._end(lines, now_s)

    def _standing(self, now_s: float) -> list[str]:
        """Where each worker stands, if none of those that have not ended moves."""
        ended = {end.rank for end in read_ends(self._folder, len(self._nodes))}
        lines, is_any_over = [], False
        for rank, node in enumerate(self._nodes):
            if rank in ended:
                continue
            note = _read_note(self._folder, rank)
            unheard_s = self._unheard_s(rank, note, now_s)
            who = f"worker {rank} on {node}"
            if note is not None and note.is_over:
                is_any_over = True
                lines.append(f"{who}: {note.words}")
            elif unheard_s > _UNHEARD * self._step_s:
                lines.append(f"{who}: nothing is heard of its node for {unheard_s:.0f} s")
            else:
                return []
        return lines if is_any_over else []

    def _unheard_s(self, rank: int, note: Note | None, now_s: float) -> float:
        """Seconds since there was a new heartbeat of a worker, or a new note of its member."""
        beat = Heartbeat.read(WorkerPaths(self._paths.root, rank))
        word = beat.time, note
        if rank not in self._heard or self._heard[rank][0] != word:
            self._heard[rank] = word, now_s
        return now_s - self._heard[rank][1]

    def _end(self, lines: Sequence[str], now_s: float) -> None:
        """Ask the members to end their workers; what they leave ends with the step."""
        self.message = "; ".join(lines)
        self._kill_at_s = now_s + _END_S
        say(f"stall: {self.message}")
        logs = [str(WorkerPaths(self._paths.root, rank).logs) for rank in range(len(self._nodes))]
        report = ["hpcdl: stall: no worker moves", *lines, *_steps(self._job_id)]
        report.append(f"hpcdl: the stacks of the workers' threads: in {', '.join(logs)}")
        append_lines(self._paths.log(self._attempt), report)
        request = self._folder / _REQUEST
        keep_trying("the request", lambda: write_text(request, self.message), self._paths)


def _note_path(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.silent.json"


def _read_note(folder: Path, rank: int) -> Note | None:
    """A member's note; None if there is none, or if it is damaged."""
    try:
        return Note(**(read_json(_note_path(folder, rank)) or {}))
    except TypeError:
        return None


def _steps(job_id: str) -> list[str]:
    """The job's steps, as SLURM sees them now."""
    try:
        return slurm.steps(job_id).splitlines()
    except SchedulerError as error:
        return [f"squeue: {error}"]
