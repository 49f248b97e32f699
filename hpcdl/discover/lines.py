"""A profile as lines: each key, its value, and the value's source or how to find it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hpcdl.text import one_line
from hpcdl.yamlfile.writer import plain

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")  # what a profile takes as a name
_COMMENT_COLUMN = 44
_STATE_WORDS = {
    "told": "",
    "guess": "a guess: ",
    "unknown": "not found: ",
    "unneeded": "not needed: ",
}


@dataclass(frozen=True)
class Line:
    """One key of a profile.

    ``value`` is a tuple of lines if the key opens a section. If ``state`` is unknown or unneeded,
    the line is commented out and its value is an example. ``why`` then says how to find the true
    value, or why none is needed.
    """

    key: str
    value: Any
    why: str
    state: Literal["told", "guess", "unknown", "unneeded"] = "told"


def word_line(key: str, value: str, why: str) -> Line:
    """A key whose value must be one plain word."""
    if is_word(value):
        return Line(key, value, why)
    return Line(key, "SOMETHING", f"{why}, which says {value!r}: it is not a plain word", "unknown")


def is_word(value: str) -> bool:
    """Whether a profile takes a value as the name of something."""
    return _WORD.fullmatch(value) is not None


def text(lines: Iterable[Line]) -> str:
    """The lines as YAML."""
    texts: list[str] = []
    for line in lines:
        texts += _texts(line, "")
    return "".join(f"{line}\n" for line in texts)


def _texts(line: Line, indent: str) -> Iterator[str]:
    """A line of the profile, and those of the section that it opens."""
    is_section = isinstance(line.value, tuple)
    off = "# " if line.state in ("unknown", "unneeded") else ""
    value = "" if is_section else f" {plain(line.value)}"
    setting = f"{indent}{off}{plain(line.key)}:{value}"
    yield f"{setting:<{_COMMENT_COLUMN}} # {_STATE_WORDS[line.state]}{one_line(line.why)}"
    if is_section:
        for inner in line.value:
            yield from _texts(inner, f"{indent}  ")
