"""The tree of a shell script, and whether it is bash at all; nothing of it is run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

_COMPLAINT = re.compile(r"line (\d+): (.*)")
_LAST_BACKSLASH = re.compile(rb"(?<=[^\\])\\(?=\n*\Z)")
_VARIABLE = re.compile(rb"[A-Za-z_]\w*|[0-9@*#?]", re.ASCII)
_TIME_LIMIT_S = 10
_MOST_PARSES = 3
_REMARK = re.compile(rb"(?<=[ \t])`#[^`\n]*`(?=[ \t]*\\?$)", re.MULTILINE)


def parse(text: str) -> Node:
    """The root of the tree; what cannot be read is in nodes of the type ERROR."""
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    parser = Parser(Language(tree_sitter_bash.language()))
    # The last line goes on into nothing, which the parser does not read
    source = text.encode("utf-8", errors="surrogateescape")
    source = _LAST_BACKSLASH.sub(b" ", _without_remarks(source))
    root = parser.parse(source).root_node
    for _ in range(_MOST_PARSES):
        additions = sorted([*_swallowed_ends(root), *_torn_names(root, source)])
        if not additions:
            break
        parts: list[bytes] = []
        place = 0
        for end, added in additions:
            parts += [source[place:end], added]
            place = end
        source = b"".join([*parts, source[place:]])
        divided = parser.parse(source).root_node
        if divided.has_error and not root.has_error:
            break
        root = divided
    return root


def _torn_names(root: Node, source: bytes) -> list[tuple[int, bytes]]:
    """Where braces make a variable of what the parser tears into a $ and a word of its own.

    So it does with the second one of $A/$B/c. For bash, $B and ${B} are the same.
    """
    braces: list[tuple[int, bytes]] = []
    for node in descendants(root):
        if node.type != "$" or node.next_sibling is not None:
            continue
        match = _VARIABLE.match(source, node.end_byte)
        if match is not None:
            braces += [(match.start(), b"{"), (match.end(), b"}")]
    return braces


def _swallowed_ends(root: Node) -> list[tuple[int, bytes]]:
    """Where commands end that the parser takes for one with the line below them.

    So it does with several assignments, A=1 B=2, and with an empty line behind a backslash. A
    semicolon there changes nothing for bash.
    """
    ends: list[int] = []
    for node in descendants(root):
        if node.type != "command":
            continue
        last = node.children[0]
        source = node.text or b""
        place = last.end_byte
        for child in node.children[1:]:
            gap = source[place - node.start_byte : child.start_byte - node.start_byte]
            if b"\n" in gap.replace(b"\\\n", b"") and last.end_byte not in ends[-1:]:
                ends.append(last.end_byte)
            if child.type != "comment":
                last = child
            place = child.end_byte
    return [(end, b";") for end in ends]


def text_of(node: Node) -> str:
    """What a node stands for, as it is written."""
    return (node.text or b"").decode("utf-8", errors="surrogateescape")


def line_of(node: Node) -> int:
    """The line on which a node begins, from 1 on."""
    return node.start_point[0] + 1


def child_of(node: Node, *types: str) -> Node | None:
    """The first child of one of these types."""
    return next((child for child in node.children if child.type in types), None)


def descendants(node: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the text."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        waiting.extend(reversed(found.children))


def unread_lines(root: Node) -> tuple[tuple[int, int], ...]:
    """The lines, first and last, of what the parser could not read."""
    if not root.has_error:
        return ()
    return tuple(
        (line_of(node), node.end_point[0] + 1)
        for node in descendants(root)
        if node.is_error or node.is_missing
    )


def _without_remarks(source: bytes) -> bytes:
    """Blanks in the place of `# remarks` at the ends of lines, with every place as it was.

    For bash they are commands without a word, and end at the second mark; the parser takes the rest
    of the line for a part of them.
    """
    return _REMARK.sub(lambda match: b" " * len(match[0]), source)


def bash_complaint(text: str) -> tuple[int, str] | None:
    """The line and the reason for which bash itself cannot read a script; None where it can.

    The parser takes a few rare, valid texts for wrong: bash has the last word. With -n it reads
    and runs nothing; without variables around it, it loads no file before. It does not run shopt
    either: where the script asks for patterns such as !(a|b), it is started with them.
    """
    options = ["-O", "extglob"] * ("extglob" in text)
    try:
        done = subprocess.run(
            ["bash", *options, "-n"],
            input=text.encode("utf-8", errors="surrogateescape"),
            capture_output=True,
            env={"LC_ALL": "C"},
            timeout=_TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # nobody to ask: what could not be read is left out
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", errors="replace")
    match = _COMPLAINT.search(said)
    if match is None:
        return 1, "bash cannot read it"
    return int(match[1]), match[2]
