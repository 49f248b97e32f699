"""Splits a notebook cell into statements of Python and lines of IPython.

Strings, brackets, comments and continued lines are seen as Python sees them, so that a ``%``, ``!``
or ``?`` in one of them means nothing.
What IPython's lines are: https://ipython.readthedocs.io/en/stable/interactive/reference.html
"""

from __future__ import annotations

import re
from typing import Iterator, List, NamedTuple, Optional, Tuple

# In this order: comments, strings' beginnings, words, operators that hold a "=", brackets, the rest
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    | (?:[rRbBuUfFtT]{1,2})?(?P<quote>'''|\"\"\"|'|\")
    | (?P<continued>\\\n)
    | \w+
    | (?P<assign>=(?![=]))[ \t]*(?P<escape>!(?!=)|%(?=[A-Za-z_]))?
    | (?:[=!<>:+\-*/%@&|^]|\*\*|//|<<|>>)=
    | (?P<open>[(\[{]) | (?P<close>[)\]}])
    | (?P<end>\n)
    | .""",
    re.VERBOSE | re.DOTALL,
)
_MAGIC_HELP = re.compile(r"%{1,2}\w+\?{1,2}")
_HELP = re.compile(r"(?:[\w.]+\s*=\s*)?%{0,2}[\w*][\w.*\[\]'\"]*\s*\?\??\s*")


class Statement(NamedTuple):
    """A logical line of a cell.

    Args:
        first: its first line in the cell, from 1.
        text: its lines.
        kind: ``python``, ``%`` (a line magic), ``!`` (a shell command), ``!!`` or ``?`` (help).
        indent: the spaces it begins with.
        target: what its value is assigned to: ``files`` of ``files = !ls``.
        command: what follows the ``%`` or ``!``.
    """

    first: int
    text: str
    kind: str
    indent: str
    target: Optional[str]
    command: str

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.text.count("\n") + 1


def statements(source: str) -> Iterator[Statement]:
    """The logical lines of a cell, in order; together they are the cell."""
    start = 0
    while start < len(source):
        statement, end = _next(source, start)
        yield statement
        start = end + 1


def _next(source: str, start: int) -> Tuple[Statement, int]:
    """The statement that begins at a place, and the place of its last newline."""
    first = source.count("\n", 0, start) + 1
    body = source[start:].lstrip(" \t")
    indent = source[start : len(source) - len(body)]
    if body[:1] in ("%", "!", "?"):
        end = _continued_end(source, start)
        text = source[start:end]
        kind = "!!" if body.startswith("!!") else body[0]
        command = _joined(text.strip()[len(kind) :])
        if _MAGIC_HELP.fullmatch(text.strip()):
            kind = "?"
        return Statement(first, text, kind, indent, None, command), end
    return _python(source, start, first, indent)


def _python(source: str, start: int, first: int, indent: str) -> Tuple[Statement, int]:
    depth, place = 0, start
    code: List[str] = []
    while place < len(source):
        token = _TOKEN.match(source, place)
        assert token is not None  # noqa: S101 - the last alternative takes anything
        place = token.end()
        if token.group("comment"):
            continue
        if token.group("quote"):
            place = _string_end(source, place, token.group("quote"))
            code.append("''")
        elif token.group("escape") and not depth:
            return _assigned(source, start, first, indent, token)
        elif token.group("end") and depth <= 0:
            place -= 1
            break
        else:
            depth += bool(token.group("open")) - bool(token.group("close"))
            code.append(token.group())
    text = source[start:place]
    kind = "?" if _HELP.fullmatch("".join(code).strip()) else "python"
    return Statement(first, text, kind, indent, None, ""), place


def _assigned(
    source: str, start: int, first: int, indent: str, token: re.Match[str]
) -> Tuple[Statement, int]:
    """The statement ``target = %magic ...`` or ``target = !command``."""
    end = _continued_end(source, token.end())
    target = source[start : token.start("assign")].strip()
    command = _joined(source[token.end() : end].strip())
    text, kind = source[start:end], token.group("escape")
    return Statement(first, text, kind, indent, target, command), end


def _string_end(source: str, place: int, quote: str) -> int:
    """Where a string ends whose first quote lies before ``place``."""
    inside = r"[^\\]" if len(quote) == 3 else r"[^\\\n]"
    ended = re.compile(r"(?:\\.|{})*?{}".format(inside, quote), re.DOTALL).match(source, place)
    if ended:
        return ended.end()
    line_end = source.find("\n", place)
    return len(source) if len(quote) == 3 or line_end < 0 else line_end


def _continued_end(source: str, place: int) -> int:
    """The end of an IPython line: it goes on after a backslash."""
    while True:
        end = source.find("\n", place)
        if end < 0:
            return len(source)
        if source[end - 1] != "\\":
            return end
        place = end + 1


def _joined(command: str) -> str:
    parts: List[str] = []
    for line in command.split("\\\n"):
        parts.append(line.strip())
    return " ".join(parts)
