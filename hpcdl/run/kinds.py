"""Kinds of values in the JSON of a run folder: each returns a value that is of its kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from hpcdl.run import states

Record = dict[str, Any]
Kind = Callable[[Any], Any]  # returns the usable value, or raises UnusableError

_LATEST = 1e11  # unix time: far in the future, and within what a calendar can show
_MOST_CLASSES = 1_000_000


class UnusableError(Exception):
    """A value is not of the kind that its key has."""


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise UnusableError
    return value


def anything(value: Any) -> Any:
    """Any value."""
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UnusableError
    return value


def number(value: Any) -> float:
    """A number that a float can hold, also NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableError
    try:
        float(value)
    except OverflowError:
        raise UnusableError from None
    return value


def finite(value: Any) -> float:
    """A number, and neither NaN nor infinite."""
    if not math.isfinite(number(value)):
        raise UnusableError
    return number(value)


def amount(value: Any) -> float:
    """A finite number that is not negative, such as seconds or bytes."""
    if not 0 <= finite(value) < _LATEST * 1e6:
        raise UnusableError
    return finite(value)


def moment(value: Any) -> float:
    """A time (unix time) that a calendar can show."""
    if amount(value) > _LATEST:
        raise UnusableError
    return amount(value)


def integer(value: Any) -> int:
    """A whole number; it may be negative."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        raise UnusableError
    return value


def whole(value: Any) -> int:
    """A whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise UnusableError
    return value


def class_count(value: Any) -> int:
    """A number of classes."""
    if whole(value) > _MOST_CLASSES:
        raise UnusableError
    return whole(value)


def state(value: Any) -> str:
    """A state in which a run has ended."""
    if text(value) not in states.FINAL:
        raise UnusableError
    return text(value)


def event(value: Any) -> str:
    """An event of attempts.jsonl."""
    if text(value) not in states.EVENTS:
        raise UnusableError
    return text(value)


def or_none(kind: Kind) -> Kind:
    """Such a value, or None."""

    def read(value: Any) -> Any:
        return None if value is None else kind(value)

    return read


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list of such values; ``length`` says how many."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise UnusableError
        return [kind(item) for item in value]

    return read


def each(kind: Kind) -> Kind:
    """Values of one kind by any name; the others are left out."""

    def read(value: Any) -> Record:
        if not isinstance(value, dict):
            raise UnusableError
        usable = {}
        for key, item in value.items():
            try:
                usable[key] = kind(item)
            except UnusableError:
                continue
        return usable

    return read


def object_with(required: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> Kind:
    """An object. Without a key that is required it cannot be used."""
    optional = optional or {}

    def read(value: Any) -> Record:
        if not isinstance(value, dict):
            raise UnusableError
        usable = dict(value)
        for key, kind in required.items():
            if key not in usable:
                raise UnusableError
            usable[key] = kind(usable[key])
        for key, kind in optional.items():
            if key not in usable:
                continue
            try:
                usable[key] = kind(usable[key])
            except UnusableError:
                del usable[key]
        return usable

    return read


def usable(value: Any, kind: Kind) -> Record | None:
    """The part of an object that is of a kind; None if nothing of it can be used."""
    try:
        part: Record = kind(value)
    except UnusableError:
        return None
    return part
