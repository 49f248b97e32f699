"""A profile as lines: each key with its value and what told it, or with how to find it out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hpcdl.script import one_line

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+@-]*|~/[A-Za-z0-9_./+@-]+")
_SPECIAL = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])
_COLUMN = 44  # where the comments begin
_WORDS = {"told": "", "guess": "a guess: ", "unknown": "not found: ", "unneeded": "not needed: "}


@dataclass(frozen=True)
class Line:
    """One key of a profile.

    ``value`` is a tuple of lines where the key opens a section. Where ``state`` is unknown or unneeded the line is
    commented out, its value is an example, and ``why`` says how to find the true one, or why none is needed.
    """

    key: str
    value: Any
    why: str
    state: Literal["told", "guess", "unknown", "unneeded"] = "told"


def text(lines: Iterable[Line]) -> str:
    """The lines as YAML."""
    return "".join(f"{row}\n" for line in lines for row in _rows(line, ""))


def plain(value: Any) -> str:
    """A value as YAML, on one line; words that YAML could misread are quoted."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{plain(key)}: {plain(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(plain, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _SPECIAL:
        return value
    return json.dumps(value, ensure_ascii=False)


def _rows(line: Line, indent: str) -> Iterator[str]:
    section = line.value if isinstance(line.value, tuple) else None
    off = "# " if line.state in ("unknown", "unneeded") else ""
    head = f"{indent}{off}{plain(line.key)}:{f' {plain(line.value)}' if section is None else ''}"
    yield f"{head:<{_COLUMN}} # {_WORDS[line.state]}{one_line(line.why)}"
    for inner in section or ():
        yield from _rows(inner, f"{indent}  ")
