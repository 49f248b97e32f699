"""Which program a word is whose text is not known: $(which apptainer), ${RT:-apptainer}, $RT."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hpcdl.batchscript.shelltree import child_of, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

CONTAINERS = ("singularity", "apptainer")
PYTHON = re.compile(r"python(\d(\.\d+)*)?")
_NAME = re.compile(r"[\w.+-]+")
_FINDERS = (("which",), ("command", "-v"), ("type", "-p"), ("type", "-P"))
_DEFAULTS = (":-", "-", ":=", "=")


def program_named(node: Node, programs: Mapping[str, str]) -> str:
    """The name of the program that a word is; empty where it is not known.

    Args:
        node: the word.
        programs: the programs that variables are.
    """
    if node.type in ("string", "concatenation", "command_name"):
        parts = node.named_children
        if len(parts) == 1 and _bare(parts[0]) == _bare(node):
            return program_named(parts[0], programs)
        return ""
    if node.type == "command_substitution":
        return _alike(map(_found_by, _alternatives(node)))
    if node.type not in ("simple_expansion", "expansion"):
        return ""
    name = child_of(node, "variable_name")
    if name is not None and text_of(name) in programs:
        return programs[text_of(name)]
    return _by_default(node)


def program_of_ways(ways: Iterable[str]) -> str:
    """The program that a variable is after one of several ways; empty where it is not known."""
    return _alike(ways)


def is_likely(name: str) -> bool:
    """Whether a program's name alone says what it does: a container's command, or Python."""
    return name in CONTAINERS or PYTHON.fullmatch(name) is not None


def _alternatives(node: Node) -> list[Node]:
    """The commands of a substitution; of a || b both."""
    commands: list[Node] = []
    waiting = list(node.named_children)
    while waiting:
        part = waiting.pop(0)
        if part.type in ("list", "redirected_statement"):
            waiting = [*part.named_children, *waiting]
        elif part.type != "file_redirect":
            commands.append(part)
    return commands


def _bare(node: Node) -> str:
    return text_of(node).strip().strip('"')


def _found_by(command: Node) -> str:
    """The program that which looks for."""
    children = filter(lambda child: child.type != "file_redirect", command.children)
    words = tuple(map(text_of, children))
    if command.type == "command" and words[:-1] in _FINDERS and _NAME.fullmatch(words[-1]):
        return words[-1]
    return ""


def _by_default(node: Node) -> str:
    """The program of ${RT:-apptainer}, which nobody sets to another kind of program."""
    if child_of(node, *_DEFAULTS) is None or not node.children[-2:]:
        return ""
    name = text_of(node.children[-2]).strip("\"'").rpartition("/")[2]
    return name * is_likely(name)


def _alike(names: Iterable[str]) -> str:
    """The one name of all; of several container commands, which are called alike, the first."""
    several = list(names)
    if not several or ("" in several):
        return ""
    is_same = len(set(several)) == 1 or set(several) <= set(CONTAINERS)
    return several[0] * is_same
