"""The notation of listed values, ``a|b|c``, read into values."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from hpcdl.errors import Problem
from hpcdl.text import show
from hpcdl.yamlfile.reader import read_yaml

_LIKE_A_RANGE = re.compile(r"(?:log|int):|[0-9]\s*\.\.")
_QUOTED = re.compile(r"""(?:^|[\[{,:|])\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""")
_YAML_BEGINS = ("[", "{", '"', "'")


def split(text: str) -> list[str]:
    """The parts of ``a|b|c``; a | inside quotes belongs to its part."""
    quoted = [match.span(1) for match in _QUOTED.finditer(text)]
    parts = []
    begin = 0
    for bar in re.finditer(r"\|", text):
        if not any(start < bar.start() < end for start, end in quoted):
            parts.append(text[begin : bar.start()])
            begin = bar.end()
    return [*parts, text[begin:]]


def alternatives(text: str, parts: Sequence[str], is_argument: bool) -> list[Any]:
    """The values of ``a|b|c``.

    Args:
        text: all of it, for messages.
        parts: of it, as `split` gives them.
        is_argument: whether they are of a script's argument: ``True`` is text then, as the script
            is to get what was written.

    Raises:
        ValueError: what is wrong with it, and what to write instead.
    """
    values = []
    for part in parts:
        if not part.strip():
            raise ValueError(
                f"{show(text)} has an empty value; write a value between all |, or a YAML list"
            )
        if _LIKE_A_RANGE.match(part.strip()):
            raise ValueError(
                f"{show(text)} mixes a range with listed values; write either a range or values"
            )
        values.append(_alternative(part.strip(), is_argument))
    return values


def _alternative(text: str, is_argument: bool) -> Any:
    """One value of ``a|b|c``: a number, true, false, null, YAML in quotes or brackets, or text."""
    if text.startswith(_YAML_BEGINS) or not text.isprintable():
        return yaml_value(text)
    document = read_yaml(text, "", [])
    if document is None or document.raw != text:
        return text  # YAML would read a comment, an anchor or a section into it
    if not is_argument or _is_as_written(document.value, text):
        return document.value
    return text


def _is_as_written(value: Any, text: str) -> bool:
    """Whether a script gets what the user wrote: not of ``True``, ``007``, ``1.10``, ``~``."""
    is_power = isinstance(value, float) and "e" in text.lower()
    return is_power or json.dumps(value, ensure_ascii=False) == text


def yaml_value(text: str) -> Any:
    """A value written in YAML.

    Raises:
        ValueError: what is wrong with it, and what to write instead.
    """
    problems: list[Problem] = []
    document = read_yaml(text, "", problems)
    if problems or document is None:
        details = "; ".join(problem.message for problem in problems)
        remedy = "close its quotes and brackets, or put it into quotes"
        raise ValueError(f"{show(text)} is not a value: {details or 'it is empty'}; {remedy}")
    return document.plain()
