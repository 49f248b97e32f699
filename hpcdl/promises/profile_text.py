"""A YAML file's text with some keys otherwise: its comments and the order of its lines stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hpcdl.yamlfile.writer import plain

_PROFILES = "profiles"


def with_keys(text: str, changes: Mapping[str, Any]) -> str:
    """A profile's text with some of its keys otherwise; new keys come at the end.

    Args:
        text: the file.
        changes: keys with their new values.
    """
    lines = text.splitlines()
    for key, value in changes.items():
        place = _line_of(lines, key, "")
        if place is None:
            lines.append(f"{key}: {plain(value)}")
        else:
            lines[place] = _with_value(lines[place], value)
    return _joined(lines)


def with_keys_of_section(text: str, section: str, changes: Mapping[str, Any]) -> str:
    """The text of a config.yaml with some keys of a profile's section otherwise.

    Args:
        text: the file; empty for a new one.
        section: the profile's name.
        changes: keys with their new values.
    """
    lines = text.splitlines()
    if _line_of(lines, _PROFILES, "") is None:
        lines.append(f"{_PROFILES}:")
    head = _place(lines, _PROFILES, "")
    indent = _indent_below(lines, head) or "  "
    if _line_of(lines, section, indent, head) is None:
        lines.insert(head + 1, f"{indent}{plain(section)}:")
    head = _place(lines, section, indent, head)
    inner = _indent_below(lines, head) or f"{indent}  "
    for key, value in changes.items():
        place = _line_of(lines, key, inner, head)
        if place is None:
            lines.insert(head + 1, f"{inner}{key}: {plain(value)}")
        else:
            lines[place] = _with_value(lines[place], value)
    return _joined(lines)


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _place(lines: Sequence[str], key: str, indent: str, head: int = -1) -> int:
    place = _line_of(lines, key, indent, head)
    assert place is not None  # noqa: S101 - the caller has just looked, or written it
    return place


def _line_of(lines: Sequence[str], key: str, indent: str, head: int = -1) -> int | None:
    """The line of a key at a depth, below the line `head`; None if it is not written there."""
    words = re.compile(rf"{indent}(['\"]?){re.escape(key)}\1\s*:(\s|$)")
    for place in range(head + 1, len(lines)):
        line = lines[place]
        if indent and line.strip() and not line.startswith((indent, "#")):
            return None  # the section is over
        if words.match(line):
            return place
    return None


def _indent_below(lines: Sequence[str], head: int) -> str | None:
    """The indent of the first key in the section of a line; None if the section is empty."""
    own = len(lines[head]) - len(lines[head].lstrip())
    for line in lines[head + 1 :]:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        return line[:depth] if depth > own else None
    return None


def _with_value(line: str, value: Any) -> str:
    """A line ``key: value  # comment`` with another value."""
    key, colon, rest = line.partition(":")
    comment = re.search(r"\s+#.*$", rest)
    return f"{key}{colon} {plain(value)}{comment[0] if comment else ''}"
