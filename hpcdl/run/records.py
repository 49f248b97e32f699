"""The JSON files of a run folder as typed records; what is damaged in them is left out.

A key whose value is of the wrong kind counts as missing. A record that lacks a required key counts
as missing, too. So no command finds a text where it expects a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from hpcdl.files import read_json, read_json_lines, write_json
from hpcdl.run import kinds, states
from hpcdl.run.kinds import Record
from hpcdl.run.paths import RunPaths

T = TypeVar("T")


def _key(kind: kinds.Kind, default: Any = None) -> Any:
    """A key that may be missing: its kind, and the value if it is."""
    return field(default=default, metadata={"kind": kind})


def _required(kind: kinds.Kind) -> Any:
    """A key without which the record cannot be used."""
    return field(metadata={"kind": kind})


def _record_of(cls: type[T], value: Record) -> T | None:
    """A JSON object as a record; None if a required key is missing or damaged."""
    usable = {}
    for item in fields(cls):  # type: ignore[arg-type]
        try:
            usable[item.name] = item.metadata["kind"](value[item.name])
        except (KeyError, kinds.UnusableError):
            if item.default is MISSING:
                return None
    return cls(**usable)


def _record_in(cls: type[T], path: Path) -> T:
    """A JSON file as a record without required keys; an empty one if the file is missing."""
    return _record_of(cls, read_json(path) or {}) or cls()


_FILE = kinds.object_with(
    {},
    {
        "path": kinds.text,
        "sha256": kinds.or_none(kinds.text),
        "listing_sha256": kinds.text,
        "files": kinds.whole,
        "bytes": kinds.amount,
    },
)


_ARRAY = kinds.object_with(
    {}, {"job_id": kinds.or_none(kinds.text), "pid": kinds.or_none(kinds.whole)}
)


@dataclass(frozen=True)
class Submitted:
    """Where and when a run was sent (submitted.json).

    Args:
        backend: ``slurm`` or ``local``.
        cluster: the profile's name.
        job_id: SLURM's id of the first job.
        job_ids: SLURM's ids of all jobs of a chain, in the order in which they run.
        time: when the run was sent first (unix time).
        sent: when it was sent last (unix time).
        host: the machine of a local run.
        pid: the process of a local run.
        pid_start: when that process started, as `hpcdl.run.process_start.process_start` tells it.
        arrays: of a sweep: what was sent, each with its job_id or its pid.
        options: sbatch's, which come before those of the batch script: what a retry asked for.
    """

    backend: str | None = _key(kinds.text)
    cluster: str | None = _key(kinds.text)
    job_id: str | None = _key(kinds.text)
    job_ids: Sequence[str] = _key(kinds.list_of(kinds.text), default=())
    time: float | None = _key(kinds.moment)
    sent: float | None = _key(kinds.moment)
    host: str | None = _key(kinds.text)
    pid: int | None = _key(kinds.whole)
    pid_start: str | None = _key(kinds.text)
    arrays: Sequence[Record] = _key(kinds.list_of(_ARRAY), default=())
    options: Sequence[str] | None = _key(kinds.list_of(kinds.text))

    @classmethod
    def read(cls, paths: RunPaths) -> Submitted | None:
        """Read submitted.json; None if the run was not sent."""
        value = read_json(paths.submitted)
        return None if value is None else _record_of(cls, value)

    def write(self, paths: RunPaths) -> None:
        """Write submitted.json, without the keys that are not known.

        Raises:
            OSError: it cannot be written.
        """
        known = {key: value for key, value in vars(self).items() if value not in (None, ())}
        write_json(paths.submitted, known)

    @property
    def all_job_ids(self) -> list[str]:
        """SLURM's ids of the run's jobs; empty for a local run."""
        if self.job_ids:
            return list(self.job_ids)
        if self.job_id:
            return [self.job_id]
        return [array["job_id"] for array in self.arrays if array.get("job_id")]

    @property
    def processes(self) -> list[tuple[int, str]]:
        """The processes on this machine that run it: their pids, and when they started."""
        pairs = [(self.pid, self.pid_start)]
        for array in self.arrays:
            pairs.append((array.get("pid"), array.get("pid_start")))
        return [(pid, start) for pid, start in pairs if pid is not None and start]


@dataclass(frozen=True)
class AttemptEvent:
    """A line of attempts.jsonl: an attempt started, an attempt ended, or the run was resumed.

    Args:
        event: one of `states.EVENTS`.
        attempt: the attempt's number, from 1.
        job_id: SLURM's id of its job.
        node: the node it ran on.
        reason: why it ended, one of the words of `states`.
        status: the program's exit status.
        time: when this happened (unix time).
        seconds: how long it ran.
        from_step: the step of the newest checkpoint when it started; None for a script.
        steps: the step of the newest checkpoint when it ended; None for a script.
        from_images: of how many images the features were saved when it started.
        images: of how many images they were saved when it ended.
        peak_memory_gb: the most memory that one process used.
        pid: the process that ran it.
        pid_start: when that process started.
        host: the machine of that process.
        cause: why the run had ended that was resumed.
        avoid: the nodes that a resumed run is kept away from.
        nodes: its nodes, by rank; empty if the job asked for one. After an end that leaves a node,
            ``node`` is that one.
    """

    event: str = _required(kinds.event)
    attempt: int = _key(kinds.whole, default=0)
    job_id: str | None = _key(kinds.text)
    node: str | None = _key(kinds.text)
    reason: str | None = _key(kinds.text)
    status: int | None = _key(kinds.integer)
    time: float | None = _key(kinds.moment)
    seconds: float | None = _key(kinds.amount)
    from_step: int | None = _key(kinds.whole)
    steps: int | None = _key(kinds.whole)
    from_images: int | None = _key(kinds.whole)
    images: int | None = _key(kinds.whole)
    peak_memory_gb: float | None = _key(kinds.amount)
    pid: int | None = _key(kinds.whole)
    pid_start: str | None = _key(kinds.text)
    host: str | None = _key(kinds.text)
    cause: str | None = _key(kinds.text)
    avoid: Sequence[str] = _key(kinds.list_of(kinds.text), default=())
    nodes: Sequence[str] = _key(kinds.list_of(kinds.text), default=())

    @property
    def is_start(self) -> bool:
        """Whether an attempt started."""
        return self.event == states.START

    @property
    def is_end(self) -> bool:
        """Whether an attempt ended."""
        return self.event == states.END


def attempt_event(line: Record, started: int) -> AttemptEvent | None:
    """A line of attempts.jsonl as a record; None if it cannot be used.

    Args:
        line: the JSON object.
        started: how many attempts started before; a line without a number is about the last one.
    """
    event = _record_of(AttemptEvent, line)
    if event is None:
        return None
    started += event.is_start
    if event.event != states.RESUMED and event.attempt == 0:
        return replace(event, attempt=started)
    return event


def read_attempts(paths: RunPaths) -> list[AttemptEvent]:
    """The lines of attempts.jsonl, oldest first."""
    events: list[AttemptEvent] = []
    started = 0
    for line in read_json_lines(paths.attempts):
        event = attempt_event(line, started)
        if event is not None:
            started += event.is_start
            events.append(event)
    return events


def attempts_started(events: Sequence[AttemptEvent]) -> int:
    """How many attempts of a run have started."""
    return sum(event.is_start for event in events)


def attempt_ends(events: Sequence[AttemptEvent]) -> list[AttemptEvent]:
    """How each attempt ended since the run was last resumed by hand.

    Of two lines about one attempt the later one counts.
    """
    ends: dict[int, AttemptEvent] = {}
    started = resumed_after = 0
    for event in events:
        if event.is_start:
            started = event.attempt
        elif event.is_end:
            ends[event.attempt] = event
        else:
            resumed_after = started
    return [ends[number] for number in sorted(ends) if number > resumed_after]


@dataclass(frozen=True)
class Heartbeat:
    """Where the trainer is (heartbeat.json).

    Args:
        phase: what it does, such as ``training``.
        time: when it was written (unix time).
        epoch: the epoch under way, from 1.
        epochs: how many there are at most.
        step: steps so far, of all epochs.
        steps: how many there are at most.
        steps_per_epoch: steps of one epoch.
        fold: the fold of a cross-validation under way, from 1.
        folds: how many there are.
        saved_images: of how many images a frozen backbone's features are saved.
        slowest_save_s: how long the slowest save took.
        loss: the loss of the last steps.
        attempt: the attempt that it is of, from 1.
    """

    phase: str | None = _key(kinds.text)
    time: float | None = _key(kinds.moment)
    epoch: int | None = _key(kinds.whole)
    epochs: int | None = _key(kinds.whole)
    step: int | None = _key(kinds.whole)
    steps: int | None = _key(kinds.whole)
    steps_per_epoch: int | None = _key(kinds.whole)
    fold: int | None = _key(kinds.whole)
    folds: int | None = _key(kinds.whole)
    saved_images: int | None = _key(kinds.whole)
    slowest_save_s: float | None = _key(kinds.amount)
    loss: float | None = _key(kinds.number)
    attempt: int | None = _key(kinds.whole)

    @classmethod
    def read(cls, paths: RunPaths) -> Heartbeat:
        """Read heartbeat.json; nothing is known if it is missing."""
        return _record_in(cls, paths.heartbeat)


@dataclass(frozen=True)
class Manifest:
    """What a run was made from (manifest.json).

    Args:
        created: when it was made (unix time).
        command_line: what the user typed.
        git_commit: the commit of the job's folder.
        image: the container image: ``path``, ``sha256``, ``bytes``.
        data: the data set's file or folder, likewise.
        code: hpcdl's own frozen code: ``folder``.
        profile: the profile's name or file; None if an older hpcdl made the run.
    """

    created: float | None = _key(kinds.moment)
    command_line: Sequence[str] = _key(kinds.list_of(kinds.text), default=())
    git_commit: str | None = _key(kinds.text)
    image: Record | None = _key(_FILE)
    data: Record | None = _key(_FILE)
    code: Record | None = _key(kinds.object_with({"folder": kinds.text}))
    profile: str | None = _key(kinds.text)

    @classmethod
    def read(cls, paths: RunPaths) -> Manifest:
        """Read manifest.json; nothing is known if it is missing."""
        return _record_in(cls, paths.manifest)

    @property
    def code_folder(self) -> str | None:
        """The folder of hpcdl's own frozen code."""
        return None if self.code is None else str(self.code["folder"])


@dataclass(frozen=True)
class Failure:
    """Why the trainer gave up (failure.json).

    Args:
        kind: the cause.
        message: in a sentence.
        hint: what to try next.
    """

    kind: str | None = _key(kinds.text)
    message: str | None = _key(kinds.text)
    hint: str | None = _key(kinds.text)

    @classmethod
    def read(cls, paths: RunPaths) -> Failure:
        """Read failure.json; nothing is known if it is missing."""
        return _record_in(cls, paths.failure)


_PLAN_GROUPS = ("size", "program", "policy")
_PLAN = kinds.object_with(
    {},
    {
        "name": kinds.text,
        "cluster": kinds.text,
        "script": kinds.text,
        "nodes": kinds.whole,
        "gpus": kinds.whole,
        "cpus": kinds.whole,
        "memory_gb": kinds.or_none(kinds.amount),
        "time_limit_s": kinds.whole,
        "emulate_gpus": kinds.flag,
        "requeue": kinds.flag,
        "max_requeues": kinds.whole,
        "min_poll_s": kinds.amount,
        "directives": kinds.list_of(kinds.list_of(kinds.anything, 2)),  # option and value
    },
)
_SPEC = kinds.object_with(
    {},
    {"train": kinds.object_with({}), "data": kinds.object_with({}), "model": kinds.object_with({})},
)
_EPOCH = kinds.object_with({"epoch": kinds.whole}, {"fold": kinds.whole, "seconds": kinds.amount})


def plan(paths: RunPaths) -> Record:
    """The plan, for commands that need a few keys of it; `planfile` reads it whole."""
    content = read_json(paths.plan) or {}
    flat = dict(content)  # as an older hpcdl wrote it: all keys on one level
    for name in _PLAN_GROUPS:
        if isinstance(content.get(name), dict):
            flat.update(content[name])
    return kinds.usable(flat, _PLAN) or {}


def spec(paths: RunPaths) -> Record:
    """The trainer's settings (run.json), with each section that is there as an object."""
    return _read(paths.spec, _SPEC)


def epochs(paths: RunPaths) -> list[Record]:
    """The epochs that a training wrote (metrics.jsonl): numbers by name, also NaN and None."""
    rows = []
    numbers = kinds.each(kinds.or_none(kinds.number))
    for line in read_json_lines(paths.metrics):
        row = kinds.usable(line, _EPOCH)
        if row is not None:
            rows.append(numbers(row))
    return rows


def _read(path: Path, kind: kinds.Kind) -> Record:
    return kinds.usable(read_json(path) or {}, kind) or {}
