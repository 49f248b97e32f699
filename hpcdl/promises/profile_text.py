"""A YAML file's text with some keys otherwise: its comments and the order of its lines stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hpcdl.yamlfile.writer import plain

_PROFILES = "profiles"
# What is behind a value; in quotes a # begins no comment
_COMMENT = re.compile(r"""\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?:[^"'\s#].*?)?)(\s+#.*)$""")


def with_keys(text: str, changes: Mapping[str, Any]) -> str:
    """A profile's text with some of its keys otherwise; new keys come at the end.

    Args:
        text: the file.
        changes: keys with their new values.
    """
    lines = _lines(text)
    for key, value in changes.items():
        place = _line_of(lines, key, "")
        if place is None:
            lines.append(f"{key}: {plain(value)}")
        else:
            lines[place] = _with_value(lines[place], value)
    return _joined(lines, text)


def with_keys_of_section(text: str, section: str, changes: Mapping[str, Any]) -> str:
    """The text of a config.yaml with some keys of a profile's section otherwise.

    Args:
        text: the file; empty for a new one.
        section: the profile's name.
        changes: keys with their new values.
    """
    lines = _lines(text)
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
    return _joined(lines, text)


def _lines(text: str) -> list[str]:
    """The lines without their ends: str.splitlines would end one at a form feed, too."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _joined(lines: Sequence[str], before: str) -> str:
    """The text of lines that end as they did before."""
    end = "\r\n" if "\r\n" in before else "\n"
    return "".join(f"{line}{end}" for line in lines)


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
    comment = _COMMENT.match(rest)
    return f"{key}{colon} {plain(value)}{comment[1] if comment else ''}"
