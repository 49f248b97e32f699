"""What the words of a command are, as far as they are known before it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcdl.batchscript.model import Word
from hpcdl.batchscript.programnames import program_named
from hpcdl.batchscript.shelltree import descendants, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_NAME = re.compile(r"[A-Za-z_]\w*")
_PLAIN = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_WITH_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*)(:?[-=?])")
_GLOB = re.compile(r"(?<!\\)[*?]|(?<!\\)\[[^\]]+\]")
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_CUT_SHORT = re.compile(r"(?<!\\)(?:\\\\)*\\$")  # the parser loses a blank behind a backslash
_BLANK = re.compile(r"(?<!\\)[ \t]")  # the parser takes the words } and { for one
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE_IN_QUOTES = re.compile(r'\\([$`"\\])')
_ANSI = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_CONTINUED = re.compile(rb"(?:\\\n)+")
_OPTION = re.compile(r"--?[A-Za-z]")  # a word of its own was meant, and a finding says so
_OPEN_VARIABLE = re.compile(r"\$(?:\w*\n[\w{(\[]|\{[^}]*\n)")
LONGEST = 128 * 1024  # characters of a value; Linux starts no program with a longer argument
_MOST_OF_SCRIPT = 16 * 1024 * 1024  # characters of all words of a script
_MOST_VARIABLES = 2000  # that are known at a time: each if and each subshell keeps them all
_WORD_COST = 100  # characters that a word costs besides its own
EXPANSIONS = ("simple_expansion", "expansion")
_UNKNOWN = ("command_substitution", "process_substitution", "arithmetic_expansion")


@dataclass
class Values:
    """The variables that the script has set so far; None is a value that is not known.

    `outside` are those that every job has, whatever the script does: HOME, USER.
    """

    outside: dict[str, str]
    known: dict[str, str | None] = field(default_factory=dict)
    left: int = _MOST_OF_SCRIPT
    programs: dict[str, str] = field(default_factory=dict)  # of which no more than that is known

    def set(self, name: str, value: str | None, program: str = "") -> None:
        """A variable's value from here on; of too many variables, it is not known."""
        self.programs.pop(name, None)
        if program and value is None and len(self.programs) < _MOST_VARIABLES:
            self.programs[name] = program
        if len(self.known) < _MOST_VARIABLES or name in self.known or name in self.outside:
            self.known[name] = value

    def take(self, length: int) -> bool:
        """Whether a text of that length may be made: none is known that would fill the memory."""
        self.left -= length
        return length <= LONGEST and self.left >= 0

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
    if is_option(node):
        return [word_of_option(node, values)]
    pieces = list(_pieces(node, values, False))
    raw = text_of(node)
    unknown = _unknown_in(pieces, raw, values)
    variables = tuple(dict.fromkeys(variables_in(node)))
    if unknown:
        return [Word(None, raw, unknown, variables, program=program_named(node, values.programs))]
    whole = "".join(piece.text or "" for piece in pieces)
    if not any(piece.splits for piece in pieces):
        return [Word(whole, raw, (), variables)]
    fields = _fields(pieces)
    if len(fields) > 1 and not values.take(len(fields) * _WORD_COST):
        return [Word(None, raw, (raw,), variables)]
    torn = whole if len(fields) > 1 else None
    return [Word(part, raw, (), variables, torn) for part in fields]


def words_of_command(nodes: list[Node], values: Values) -> list[Word]:
    """The words of a command's parts, in their order.

    Where a blank behind a backslash stands between two parts, the parser has lost it: both are
    not known. Where only a backslash at a line's end does, they are one word.
    """
    words: list[Word] = []
    fresh: list[Word] = []
    end = None
    for node in nodes:
        gap = _between(node, end)
        is_torn = b"\\" in gap.replace(b"\\\n", b"").replace(b"\\\r\n", b"")
        if is_torn:
            words[len(words) - len(fresh) :] = [_unknown(word) for word in fresh]
        before, fresh = fresh, words_of(node, values)
        fresh = [_unknown(word) for word in fresh] if is_torn else fresh
        end = node.end_byte
        if _CONTINUED.fullmatch(gap) and before and fresh and not _OPTION.match(fresh[0].raw):
            words.pop()
            joined = _joined(before[-1], fresh[0], is_first=not words)
            fresh = [joined, *fresh[1:]]
        words += fresh
    return words


def _between(node: Node, end: int | None) -> bytes:
    """What stands between a place and a node."""
    parent = node.parent
    if end is None or parent is None or parent.text is None:
        return b""
    return parent.text[end - parent.start_byte : node.start_byte - parent.start_byte]


def _joined(begin: Word, rest: Word, is_first: bool) -> Word:
    """The word of two; not known where bash reads more in both together than in each.

    Args:
        begin: its beginning.
        rest: its end.
        is_first: whether it is the command's first word, which may be an assignment.
    """
    raw = begin.raw + rest.raw
    text = None
    if begin.text is not None and rest.text is not None:
        text = begin.text + rest.text
    is_more = any(mark.search(raw) for mark in (_GLOB, _BRACES)) or rest.raw[:1] in "~#"
    is_variable = _OPEN_VARIABLE.search(f"{begin.raw}\n{rest.raw}") is not None
    is_variable = is_variable or (is_first and "=" in raw)
    variables = tuple(dict.fromkeys((*begin.variables, *rest.variables)))
    if is_more or is_variable or begin.torn or rest.torn:
        return Word(None, raw, (raw,), variables)
    return Word(text, raw, (*begin.unknown, *rest.unknown), variables)


def _unknown(word: Word) -> Word:
    return Word(None, word.raw, (word.raw,), word.variables)


def word_of(node: Node | None, values: Values) -> Word:
    """The word of a place where blanks divide nothing: the value of an assignment, a target."""
    if node is None:
        return Word("", "")
    pieces = list(_pieces(node, values, False))
    unknown = _unknown_in(pieces, "", values)
    unknown = unknown and tuple(text or text_of(node) for text in unknown)
    text = None if unknown else "".join(piece.text or "" for piece in pieces)
    program = program_named(node, values.programs) if text is None else ""
    variables = tuple(dict.fromkeys(variables_in(node)))
    return Word(text, text_of(node), unknown, variables, program=program)


def word_of_option(node: Node, values: Values) -> Word:
    """The word --name=value, which the parser takes for an assignment."""
    target, *_ = node.children
    end = target.end_byte - node.start_byte
    begin = (node.text or b"")[:end].decode("utf-8", errors="surrogateescape")
    rest = node.children[2] if len(node.children) > 2 else None
    value = word_of(rest, values)
    operator = text_of(node.children[1])
    text = None if value.text is None else f"{begin}{operator}{value.text}"
    return Word(text, text_of(node), value.unknown, value.variables)


def is_option(node: Node) -> bool:
    """Whether a node is --name=value, for which the parser has no kind of its own."""
    if node.type != "variable_assignment":
        return False
    name = next((c for c in descendants(node) if c.type == "variable_name"), None)
    return name is not None and not _NAME.fullmatch(text_of(name))


def _unknown_in(pieces: list[_Piece], raw: str, values: Values) -> tuple[str, ...]:
    """What of a word is not known: its parts, or all of it where it is too long or has braces."""
    unknown = tuple(dict.fromkeys(piece.raw for piece in pieces if piece.text is None))
    if unknown:
        return unknown
    is_short = values.take(sum(len(piece.text or "") for piece in pieces))
    return () if is_short and not has_braces(raw) else (raw,)


def has_braces(raw: str) -> bool:
    """Whether bash makes several words of one as it is written: {a,b}.txt, x{1..3}."""
    quote, place, opened, is_parted = "", 0, 0, False
    while place < len(raw):
        letter, two = raw[place], raw[place : place + 2]
        if letter == "\\" and quote != "'":
            place += 1
        elif letter in "'\"" and quote in ("", letter):
            quote = "" if quote else letter
        elif quote:
            pass
        elif two == "${":
            end = raw.find("}", place)
            place = len(raw) if end < 0 else end
        elif letter == "{":
            opened += 1
        elif opened and (letter == "," or two == ".."):
            is_parted = True
        elif letter == "}" and is_parted:
            return True
        place += 1
    return False


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
        yield from _expanded(node, values, is_quoted)
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
    is_whole = "".join(map(text_of, node.children)) == text_of(node)
    if _BRACES.search("".join(bare)) or not is_whole:
        yield _Piece(None, raw=text_of(node))
        return
    for number, child in enumerate(node.children):
        is_bare = child.type == "word"
        if is_bare and (number > 0 or (text_of(child) == "~" and len(node.children) > 1)):
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
        yield _Piece(unescaped(source[place:begin]))
        yield from _pieces(child, values, True)
        place = child.end_byte - start
    yield _Piece(unescaped(source[place : len(source) - 1]))


def unescaped(source: bytes) -> str:
    """What stands in double quotes, without the backslashes that protect."""
    text = source.decode("utf-8", errors="surrogateescape").replace("\\\n", "")
    return _ESCAPE_IN_QUOTES.sub(r"\1", text)


def _of_ansi(text: str) -> str | None:
    if re.search(r"\\[^nt\\'\"]", text):
        return None
    return re.sub(r"\\(.)", lambda match: _ANSI[match[1]], text)


def _plain(raw: str, values: Values, is_first: bool) -> _Piece:
    """A word without quotes: backslashes, a home's ~, and what files decide."""
    if any(mark.search(raw) for mark in (_GLOB, _BRACES, _CUT_SHORT, _BLANK)):
        return _Piece(None, raw=raw)
    text = _ESCAPE.sub(r"\1", raw.replace("\\\n", ""))
    if is_first and raw.startswith("~"):
        home = values.get("HOME")
        if home is None or raw[1:2] not in ("", "/"):
            return _Piece(None, raw=raw)
        return _Piece(home + text[1:], raw=raw)
    return _Piece(text, raw=raw)


def _expanded(node: Node, values: Values, is_quoted: bool) -> Iterator[_Piece]:
    """The value of $X, ${X} or ${X:-default}, where it is known."""
    raw = text_of(node).lstrip()
    plain = _PLAIN.fullmatch(raw)
    name = raw[1:] if node.type == "simple_expansion" else plain[1] if plain else ""
    match = _WITH_DEFAULT.match(raw)
    if _NAME.fullmatch(name):
        yield _Piece(values.get(name), not is_quoted, raw)
        return
    value = values.get(match[1]) if match else None
    if match is None or value is None:
        yield _Piece(None, raw=raw)  # the value may come from around the script
    elif value or not match[2].startswith(":"):
        yield _Piece(value, not is_quoted, raw)
    elif match[2].endswith("?"):
        yield _Piece(None, raw=raw)
    else:
        yield from _default(node, values, is_quoted, match[2])


def _default(node: Node, values: Values, is_quoted: bool, operator: str) -> Iterator[_Piece]:
    """What stands behind the operator in ${X:-default}."""
    is_behind = False
    for child in node.children:
        if is_behind and child.type != "}":
            for piece in _pieces(child, values, is_quoted):
                is_bare = child.type in ("word", "concatenation") and not is_quoted
                yield replace(piece, splits=piece.splits or is_bare)
        is_behind = is_behind or child.type == operator
