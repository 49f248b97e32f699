"""What the words of a command are, as far as they are known before it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcdl.batchscript.model import Word
from hpcdl.batchscript.shelltree import descendants, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_NAME = re.compile(r"[A-Za-z_]\w*")
_PLAIN = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_WITH_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*)(:?[-=?])")
_GLOB = re.compile(r"(?<!\\)[*?]|(?<!\\)\[[^\]]+\]")
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE_IN_QUOTES = re.compile(r'\\([$`"\\])')
_ANSI = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
EXPANSIONS = ("simple_expansion", "expansion")
_UNKNOWN = ("command_substitution", "process_substitution", "arithmetic_expansion")


@dataclass
class Values:
    """The variables that the script has set so far; None is a value that is not known.

    `outside` are those that every job has, whatever the script does: HOME, USER.
    """

    outside: dict[str, str]
    known: dict[str, str | None] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """A variable's value, where it is known before the script runs."""
        return self.known[name] if name in self.known else self.outside.get(name)


@dataclass(frozen=True)
class _Piece:
    """A part of a word: its text if known, and whether blanks in it divide the word."""

    text: str | None
    splits: bool = False
    raw: str = ""


def words_of(node: Node, values: Values) -> list[Word]:
    """The words that the shell makes of one: several, or none, where a variable is not quoted."""
    pieces = list(_pieces(node, values, False))
    unknown = tuple(dict.fromkeys(piece.raw for piece in pieces if piece.text is None))
    variables = tuple(dict.fromkeys(variables_in(node)))
    raw = text_of(node)
    if unknown:
        return [Word(None, raw, unknown, variables)]
    whole = "".join(piece.text or "" for piece in pieces)
    if not any(piece.splits for piece in pieces):
        return [Word(whole, raw, (), variables)]
    fields = _fields(pieces)
    torn = whole if len(fields) > 1 else None
    return [Word(part, raw, (), variables, torn) for part in fields]


def word_of(node: Node | None, values: Values) -> Word:
    """The word of a place where blanks divide nothing: the value of an assignment, a target."""
    if node is None:
        return Word("", "")
    pieces = list(_pieces(node, values, False))
    unknown = tuple(dict.fromkeys(piece.raw for piece in pieces if piece.text is None))
    text = None if unknown else "".join(piece.text or "" for piece in pieces)
    return Word(text, text_of(node), unknown, tuple(dict.fromkeys(variables_in(node))))


def variables_in(node: Node) -> Iterator[str]:
    """The names of all variables that are used in a node."""
    for found in descendants(node):
        if found.type in EXPANSIONS:
            name = next((c for c in found.children if c.type == "variable_name"), None)
            if name is not None and _NAME.fullmatch(text_of(name)):
                yield text_of(name)


def _fields(pieces: Iterable[_Piece]) -> list[str]:
    """The words after the shell has divided the values that are not quoted."""
    fields: list[str] = []
    is_open = False
    for piece in pieces:
        text = piece.text or ""
        parts = text.split() if piece.splits else [text]
        if piece.splits and (not parts or text[:1].isspace()):
            is_open = is_open and not text
        for number, part in enumerate(parts):
            if is_open and number == 0:
                fields[-1] += part
            else:
                fields.append(part)
            is_open = True
        if piece.splits and text[-1:].isspace():
            is_open = False
    return fields


def _pieces(node: Node, values: Values, is_quoted: bool) -> Iterator[_Piece]:
    raw = text_of(node).lstrip()
    if node.type in EXPANSIONS:
        yield _Piece(_expanded(node, values), not is_quoted, raw)
    elif node.type in ("string", "translated_string"):
        yield from _of_string(node, values)
    elif node.type == "raw_string":
        yield _Piece(raw[1:-1])
    elif node.type == "ansi_c_string":
        yield _Piece(_of_ansi(raw[2:-1]), raw=raw)
    elif node.type in ("concatenation", "command_name"):
        yield from _of_several(node, values, is_quoted)
    elif node.type in ("word", "number", "variable_name", "regex", "extglob_pattern"):
        yield _plain(raw, values, is_first=True)
    else:
        yield _Piece(None, raw=raw)


def _of_several(node: Node, values: Values, is_quoted: bool) -> Iterator[_Piece]:
    """The parts of a word such as a"b"$C."""
    bare = [text_of(child) for child in node.children if child.type == "word"]
    if _BRACES.search("".join(bare)):
        yield _Piece(None, raw=text_of(node))
        return
    for number, child in enumerate(node.children):
        if number > 0 and child.type == "word":
            yield _plain(text_of(child), values, is_first=False)
        else:
            yield from _pieces(child, values, is_quoted)


def _of_string(node: Node, values: Values) -> Iterator[_Piece]:
    """The parts of a text in double quotes; what no node stands for is text, too."""
    yield _Piece("")  # "" is a word
    source, start = node.text or b"", node.start_byte
    place = source.find(b'"') + 1
    for child in node.children:
        if child.type not in (*EXPANSIONS, *_UNKNOWN):
            continue
        written = child.text or b""
        begin = child.end_byte - len(written.lstrip()) - start  # blanks before $ are in the node
        yield _Piece(_unescaped(source[place:begin]))
        yield from _pieces(child, values, True)
        place = child.end_byte - start
    yield _Piece(_unescaped(source[place : len(source) - 1]))


def _unescaped(source: bytes) -> str:
    text = source.decode("utf-8", errors="surrogateescape").replace("\\\n", "")
    return _ESCAPE_IN_QUOTES.sub(r"\1", text)


def _of_ansi(text: str) -> str | None:
    if re.search(r"\\[^nt\\'\"]", text):
        return None
    return re.sub(r"\\(.)", lambda match: _ANSI[match[1]], text)


def _plain(raw: str, values: Values, is_first: bool) -> _Piece:
    """A word without quotes: backslashes, a home's ~, and what files decide."""
    if _GLOB.search(raw) or _BRACES.search(raw):
        return _Piece(None, raw=raw)
    text = _ESCAPE.sub(r"\1", raw.replace("\\\n", ""))
    if is_first and raw.startswith("~"):
        home = values.get("HOME")
        if home is None or raw[1:2] not in ("", "/"):
            return _Piece(None, raw=raw)
        return _Piece(home + text[1:], raw=raw)
    return _Piece(text, raw=raw)


def _expanded(node: Node, values: Values) -> str | None:
    """The value of $X, ${X} or ${X:-default}; None where it is not known."""
    raw = text_of(node).lstrip()
    if node.type == "simple_expansion":
        return values.get(raw[1:]) if _NAME.fullmatch(raw[1:]) else None
    match = _PLAIN.fullmatch(raw)
    if match:
        return values.get(match[1])
    match = _WITH_DEFAULT.match(raw)
    if match is None:
        return None
    name, operator = match[1], match[2]
    value = values.get(name)
    if value or (value is not None and not operator.startswith(":")):
        return value
    if value is None or operator.endswith("?"):
        return None  # the value may come from around the script
    rest = [child for child in node.children if child.start_byte >= node.start_byte + match.end()]
    default = [child for child in rest if child.type != "}"]
    pieces = [piece for child in default for piece in _pieces(child, values, True)]
    if any(piece.text is None for piece in pieces):
        return None
    return "".join(piece.text or "" for piece in pieces)
