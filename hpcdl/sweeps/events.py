"""The lines of a task's log: a trial claimed, a rung reached, a trial ended, the task's stop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from hpcdl.files import append_json_line

Count = Annotated[int, msgspec.Meta(ge=0)]
EndState = Literal["done", "pruned", "failed"]


class Claimed(msgspec.Struct, frozen=True, tag_field="event", tag="claim"):
    """A task runs a trial from now on.

    Args:
        trial: its number.
        params: it runs with.
        task: the task's key.
        turn: 1 for the first task that has the trial; one more each time it is offered again.
        time: unix time.
    """

    trial: Count
    params: dict[str, Any]
    task: str
    turn: Count
    time: float


class Rung(msgspec.Struct, frozen=True, tag_field="event", tag="rung"):
    """A trial has reached an epoch at which trials are compared.

    Args:
        trial: its number.
        epoch: the rung's.
        value: of the metric; None if it is not a number.
        time: unix time.
    """

    trial: Count
    epoch: Count
    value: float | None
    time: float


class Ended(msgspec.Struct, frozen=True, tag_field="event", tag="end"):
    """A trial is over.

    Args:
        trial: its number.
        state: how it ended.
        value: of the metric; None if there is none.
        epoch: of that value.
        epochs: how many it has trained.
        seconds: how long all its attempts took.
        params: it ran with.
        task: the task's key.
        turn: as in `Claimed`.
        time: unix time.
    """

    trial: Count
    state: EndState
    value: float | None
    epoch: Count | None
    epochs: Count
    seconds: float
    params: dict[str, Any]
    task: str
    turn: Count
    time: float


class Stopped(msgspec.Struct, frozen=True, tag_field="event", tag="stop"):
    """The task takes no more trials.

    Args:
        reason: in words.
        time: unix time.
    """

    reason: str
    time: float


Event = Claimed | Rung | Ended | Stopped
_decoder = msgspec.json.Decoder(Event)


def append_event(path: Path, event: Event) -> None:
    """Add an event to a task's log, on disk before this returns; on a full disk nothing is added.

    Raises:
        OSError: it cannot be written.
    """
    append_json_line(path, msgspec.to_builtins(event))


def decode_lines(data: bytes) -> tuple[list[Event], list[int]]:
    """The events of whole lines, and the offsets of those lines that hold none.

    Args:
        data: lines of a task's log.
    """
    try:
        return _decoder.decode_lines(data), []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_each(data)


def end_of_result(result: dict[str, Any], claimed: Claimed, time: float) -> Ended | None:
    """The end that a trial's result.json tells of; None if it tells of no end.

    The trainer writes the file without a value first. The launcher judges the trial a moment later,
    and always writes a value, which may be null. Only then has the trial ended.

    Args:
        result: its content.
        claimed: who has the trial, and its parameters.
        time: when it was written (unix time).
    """
    if "value" not in result:
        return None
    content = {
        "event": "end",
        "trial": claimed.trial,
        "state": result.get("state"),
        "value": finite_or_none(result.get("value")),
        "epoch": result.get("epoch"),
        "epochs": result.get("epochs", 0),
        "seconds": result.get("seconds", 0.0),
        "params": claimed.params,
        "task": claimed.task,
        "turn": claimed.turn,
        "time": time,
    }
    try:
        return msgspec.convert(content, Ended)
    except msgspec.ValidationError:
        return None


def finite_or_none(value: Any) -> Any:
    """A value as JSON can hold it: None if it is not a finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _decode_each(data: bytes) -> tuple[list[Event], list[int]]:
    events: list[Event] = []
    damaged: list[int] = []
    offset = 0
    for line in data.splitlines(keepends=True):
        try:
            if line.strip():
                events.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            damaged.append(offset)
        offset += len(line)
    return events, damaged
