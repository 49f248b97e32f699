"""What all tasks' logs say together, read only where they are new."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal

import msgspec

from hpcdl.files import write_text
from hpcdl.sweeps.events import Claimed, Ended, Event, Rung, Stopped, decode_lines
from hpcdl.sweeps.folder import SweepPaths

_VERSION = 1


class TrialState(msgspec.Struct, array_like=True):
    """What the logs say of one trial.

    Args:
        number: the trial's.
        state: ``running`` means that a task has it and no end is noted.
        task: the key of the task that has or had it.
        turn: how many times it was claimed or offered again.
        params: it runs with.
        claimed_at: when it was claimed (unix time).
        value: of the metric at the end; None if there is none.
        epoch: of that value.
        epochs: how many it has trained.
        seconds: how long all its attempts took.
        ended_at: when it ended (unix time); None while it runs.
    """

    number: int
    state: Literal["running", "done", "pruned", "failed"]
    task: str
    turn: int
    params: dict[str, Any]
    claimed_at: float | None = None
    value: float | None = None
    epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    ended_at: float | None = None


class DamagedLine(msgspec.Struct, array_like=True, frozen=True):
    """A line that holds no event: a crash or a full disk cut it off, or somebody edited it."""

    log: str
    offset: int

    def __str__(self) -> str:
        return (
            f"tasks/{self.log}, byte {self.offset}: this line is not an event of a sweep and is"
            " left out; what it said is read again from the trials' folders"
        )


class SweepState:
    """The fold of all tasks' logs. The same events in any order, or again, give the same state."""

    def __init__(self) -> None:
        self.trials: dict[int, TrialState] = {}
        self.rungs: dict[int, dict[int, float | None]] = {}  # by epoch, by trial
        self.stops: dict[str, str] = {}  # by log: why its task stopped
        self.damaged: set[DamagedLine] = set()
        self._offsets: dict[str, int] = {}  # by log: how much of it is read

    def refresh(self, paths: SweepPaths) -> bool:
        """Read what is new in all logs; whether anything is.

        Raises:
            OSError: the folder or a log cannot be read.
        """
        sizes = _log_sizes(paths)
        before = dict(self._offsets)
        if not self._offsets.keys() <= sizes.keys():
            self._forget()  # a log is gone
        for name in sorted(sizes):
            if sizes[name] != self._offsets.get(name, 0):
                self._read_log(paths, name)
        return self._offsets != before

    def add(self, event: Event) -> None:
        """Take one event in."""
        if isinstance(event, Claimed):
            self._add_claim(event)
        elif isinstance(event, Ended):
            self._add_end(event)
        elif isinstance(event, Rung):
            self.rungs.setdefault(event.epoch, {})[event.trial] = event.value

    def has_ended(self, number: int) -> bool:
        """Whether a trial's end is noted."""
        trial = self.trials.get(number)
        return trial is not None and trial.state != "running"

    def save_index(self, paths: SweepPaths) -> None:
        """Keep the fold for `load_index`.

        Raises:
            OSError: it cannot be written.
        """
        index = _Index(
            version=_VERSION,
            offsets=self._offsets,
            trials=list(self.trials.values()),
            rungs=self.rungs,
            stops=self.stops,
            damaged=list(self.damaged),
        )
        write_text(paths.index, msgspec.json.encode(index).decode() + "\n")

    @classmethod
    def load_index(cls, paths: SweepPaths) -> SweepState:
        """The fold as it was kept, an empty one if the file is missing or broken.

        `refresh` adds what is new since then.
        """
        state = cls()
        try:
            index = msgspec.json.decode(paths.index.read_bytes(), type=_Index)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return state
        if index.version != _VERSION:
            return state
        state.trials = {trial.number: trial for trial in index.trials}
        state.rungs = index.rungs
        state.stops = index.stops
        state.damaged = set(index.damaged)
        state._offsets = index.offsets
        return state

    def _read_log(self, paths: SweepPaths, name: str) -> None:
        offset = self._offsets.get(name, 0)
        with open(paths.tasks / name, "rb") as stream:
            stream.seek(max(0, offset - 1))
            data = stream.read()
            if offset and data[:1] != b"\n":
                # A full disk took back a line that was read already: events may come twice
                offset = 0
                stream.seek(0)
                data = stream.read()
            elif offset:
                data = data[1:]
        whole_lines = data[: data.rfind(b"\n") + 1]
        events, damaged_offsets = decode_lines(whole_lines)
        self._add_all(name, events)
        for damaged_offset in damaged_offsets:
            self.damaged.add(DamagedLine(name, offset + damaged_offset))
        self._offsets[name] = offset + len(whole_lines)

    def _add_all(self, name: str, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Stopped):
                self.stops[name] = event.reason
            else:
                self.add(event)

    def _add_claim(self, event: Claimed) -> None:
        trial = self.trials.get(event.trial)
        if trial is None or trial.turn < event.turn:
            self.trials[event.trial] = TrialState(
                number=event.trial,
                state="running",
                task=event.task,
                turn=event.turn,
                params=event.params,
                claimed_at=event.time,
            )
        elif trial.turn == event.turn and trial.claimed_at is None:
            trial.claimed_at = event.time

    def _add_end(self, event: Ended) -> None:
        trial = self.trials.get(event.trial)
        if trial is not None and trial.turn > event.turn:
            return  # another task has had the trial since then
        if trial is not None and trial.turn == event.turn and trial.state != "running":
            return  # noted already
        claimed_at = None
        if trial is not None and trial.turn == event.turn:
            claimed_at = trial.claimed_at
        self.trials[event.trial] = TrialState(
            number=event.trial,
            state=event.state,
            task=event.task,
            turn=event.turn,
            params=event.params,
            claimed_at=claimed_at,
            value=event.value,
            epoch=event.epoch,
            epochs=event.epochs,
            seconds=event.seconds,
            ended_at=event.time,
        )

    def _forget(self) -> None:
        """Read everything again at the next look."""
        self.trials.clear()
        self.rungs.clear()
        self.stops.clear()
        self.damaged.clear()
        self._offsets.clear()


def _log_sizes(paths: SweepPaths) -> dict[str, int]:
    """The size of each log in bytes; none if their folder is gone."""
    sizes = {}
    with suppress(FileNotFoundError), os.scandir(paths.tasks) as entries:
        for entry in entries:
            if entry.name.endswith(".jsonl"):
                sizes[entry.name] = entry.stat().st_size
    return sizes


class _Index(msgspec.Struct):
    version: int
    offsets: dict[str, int]
    trials: list[TrialState]
    rungs: dict[int, dict[int, float | None]]
    stops: dict[str, str]
    damaged: list[DamagedLine]
