"""Converts one value to what a field takes, strictly: neither ``"5"`` nor ``true`` is 5."""

from __future__ import annotations

import operator
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

# What a field's metadata may ask of a number, with the sign that a message shows
BOUNDS = {
    "ge": (operator.ge, ">="),
    "gt": (operator.gt, ">"),
    "le": (operator.le, "<="),
    "lt": (operator.lt, "<"),
}
_SIMPLE = (bool, int, float, str)


def options_of(hint: Any) -> list[Any]:
    """The types that an annotation admits; one alone for any but a union."""
    if get_origin(hint) in (Union, types.UnionType):
        return list(get_args(hint))
    return [hint]


def convert(value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """A value as its annotation wants it; a whole number becomes a float if a float is expected.

    Args:
        value: of YAML: a text, a number, true or false, a list, a dict.
        hint: the annotation, of such types; what is in a dict stays as it is.
        metadata: the bounds of each number in it, the ``choices`` of a text, the ``min_length`` of
            a list.

    Raises:
        ValueError: it is none of these.
    """
    kind = type(value)
    options = options_of(hint)
    if Any in options:
        return value
    if kind in _SIMPLE and kind in options:
        return _within(value, metadata)
    if kind is int and float in options:
        return _within(float(value), metadata)
    for option in options:
        origin = get_origin(option) or option
        if origin is list and kind is list:
            return _list(value, option, metadata)
        if origin is dict and kind is dict and all(isinstance(key, str) for key in value):
            return value
    raise ValueError


def _list(values: list[Any], hint: Any, metadata: Mapping[str, Any]) -> list[Any]:
    if len(values) < metadata.get("min_length", 0):
        raise ValueError
    (inner,) = get_args(hint)
    return [convert(value, inner, metadata) for value in values]


def _within(value: Any, metadata: Mapping[str, Any]) -> Any:
    """A simple value, if it is within its bounds, or one of the choices."""
    if isinstance(value, str):
        if value not in metadata.get("choices", [value]):
            raise ValueError
        return value
    for name, (holds, _) in BOUNDS.items():
        if name in metadata and not isinstance(value, bool) and not holds(value, metadata[name]):
            raise ValueError
    return value
