"""The text behind bash -c: where it stands among a command's words, and on which lines."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcdl.batchscript.model import Program, Word
from hpcdl.batchscript.shelltree import line_of, text_of
from hpcdl.batchscript.words import Values, unescaped, word_of

if TYPE_CHECKING:
    from tree_sitter import Node, Point

SHELLS = ("bash", "sh", "dash", "ksh")
_ALL = ('"$@"', '"${@}"')
_NUMBERED = re.compile(r'"?\$(?:\{(\d{1,3})\}|(\d))"?')
_ROW, _ROW_OF_BYTES = re.compile(r"[^\n]*\n|[^\n]+"), re.compile(rb"[^\n]*\n|[^\n]+")
_WITH_VALUE = ("--rcfile", "--init-file")
_STARTING = ("l", "i")  # such a shell reads files of the user's first


@dataclass(frozen=True)
class InnerText:
    """A shell's text, and what it is called with.

    Args:
        word: the text.
        args: what its $1, $2, ... are.
        reads_files: whether the shell reads the user's login files first.
    """

    word: Word
    args: tuple[Word, ...] = ()
    reads_files: bool = False


def inner_text(program: Program | None) -> InnerText | None:
    """The text that a program runs with bash -c; None for any other program."""
    if program is None or program.name not in SHELLS:
        return None
    rest = list(program.words[1:])
    letters = ""
    while rest and (rest[0].text or "").startswith(("-", "+")):
        option = rest.pop(0).text or ""
        if option in ("-", "--"):
            break
        if option == "--login":
            option = "-l"
        if option.startswith("--"):
            rest = rest[option in _WITH_VALUE :]
            continue
        letters += option[1:] * option.startswith("-")
        rest = rest[option.lower().count("o") :]
    if "c" not in letters or "n" in letters or not rest:
        return None
    reads_files = any(letter in letters for letter in _STARTING)
    return InnerText(rest[0], tuple(rest[2:]), reads_files)


def with_args(word: Word, args: tuple[Word, ...] | None) -> list[Word]:
    """The words that one becomes in a shell's text: those for its "$@", that for its "$1".

    Args:
        word: of the text.
        args: what the shell is called with; None where that is not known.
    """
    match = _NUMBERED.fullmatch(word.raw)
    if args is None or word.text is not None:
        return [word]
    if word.raw in _ALL:
        return list(args)
    if match is None or not 0 < int(match[1] or match[2]) <= len(args):
        return [word]
    given = args[int(match[1] or match[2]) - 1]
    if word.raw.startswith('"') or (given.text or "").split() == [given.text]:
        return [given]
    return [word]


@dataclass(frozen=True)
class Lines:
    """The lines of the batch script on which the parts of a text stand.

    Args:
        places: of each part, its row and its column in bytes, in their order.
        lines: of each part, its line in the script.
    """

    places: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    lines: list[int] = field(default_factory=lambda: [1])

    def at(self, point: Point | tuple[int, int]) -> int:
        """The script's line of a place in the text."""
        return self.lines[bisect_right(self.places, (point[0], point[1])) - 1]


def lines_of(node: Node, values: Values, text: str, outer: Lines | None = None) -> Lines:
    """The script's lines of a text that a node stands for.

    Args:
        node: the text as it is written.
        values: what is known where it stands.
        text: what becomes of it.
        outer: the lines of the text in which it stands; None where that is the script itself.
    """
    parts = list(_parts(node, line_of(node), values))
    if "".join(part for part, _ in parts) != text:
        parts = [(text, line_of(node))]
    places, lines = [], []
    row = column = 0
    for part, line in parts:
        places.append((row, column))
        lines.append(line if outer is None else outer.at(_begin(node, line)))
        if "\n" in part:
            row, column = row + part.count("\n"), 0
        column += len(os.fsencode(part.rpartition("\n")[2]))
    return Lines(places, lines)


def _begin(node: Node, line: int) -> tuple[int, int]:
    """Where a line of a node begins, as row and column."""
    return (line - 1, node.start_point[1] if line == line_of(node) else 0)


def _parts(node: Node, line: int, values: Values) -> Iterator[tuple[str, int]]:
    """The parts of a text with their lines; each is of one line alone."""
    if node.type == "concatenation":
        for child in node.children:
            yield from _parts(child, line_of(child), values)
    elif node.type == "raw_string":
        raw = text_of(node)
        bare = raw.lstrip()
        line += raw[: len(raw) - len(bare)].count("\n")
        for number, part in enumerate(_ROW.findall(bare[1:-1])):
            yield part, line + number
    elif node.type == "string":
        yield from _of_string(node, line, values)
    else:
        yield word_of(node, values).text or "", line


def _of_string(node: Node, line: int, values: Values) -> Iterator[tuple[str, int]]:
    """The parts in double quotes: a backslash at a line's end is none."""
    source, start = node.text or b"", node.start_byte
    place = source.find(b'"') + 1
    for child in node.children:
        if child.type not in ("simple_expansion", "expansion"):
            continue
        begin = child.end_byte - len((child.text or b"").lstrip()) - start
        yield from _written(source[place:begin], line + source[:place].count(b"\n"))
        yield word_of(child, values).text or "", line + source[:begin].count(b"\n")
        place = child.end_byte - start
    yield from _written(source[place : len(source) - 1], line + source[:place].count(b"\n"))


def _written(source: bytes, line: int) -> Iterator[tuple[str, int]]:
    for number, part in enumerate(_ROW_OF_BYTES.findall(source)):
        yield unescaped(part), line + number
