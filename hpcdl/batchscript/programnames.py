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
        parts = [child for child in node.children if child.is_named]
        written = text_of(node).strip().strip('"')
        is_all = len(parts) == 1 and text_of(parts[0]).strip().strip('"') == written
        return program_named(parts[0], programs) if is_all else ""
    if node.type == "command_substitution":
        return _alike(map(_found_by, _alternatives(node)))
    if node.type not in ("simple_expansion", "expansion"):
        return ""
    name = child_of(node, "variable_name")
    known = programs.get(text_of(name), "") if name is not None else ""
    return known or _by_default(node)


def program_of_ways(ways: Iterable[str]) -> str:
    """The program that a variable is after one of several ways; empty where it is not known."""
    return _alike(ways)


def is_likely(name: str) -> bool:
    """Whether a program's name alone says what it does: a container's command, or Python."""
    return name in CONTAINERS or PYTHON.fullmatch(name) is not None


def _alternatives(node: Node) -> list[Node]:
    """The commands of a substitution; of a || b both."""
    found = [child for child in node.children if child.is_named]
    while any(child.type in ("list", "redirected_statement") for child in found):
        found = [
            inner
            for child in found
            for inner in (
                [one for one in child.children if one.is_named and one.type != "file_redirect"]
                if child.type in ("list", "redirected_statement")
                else [child]
            )
        ]
    return found


def _found_by(command: Node) -> str:
    """The program that which looks for."""
    words = tuple(text_of(child) for child in command.children if child.type != "file_redirect")
    is_finder = command.type == "command" and words[:-1] in _FINDERS
    return words[-1] if is_finder and _NAME.fullmatch(words[-1]) else ""


def _by_default(node: Node) -> str:
    """The program of ${RT:-apptainer}, which nobody sets to another kind of program."""
    if child_of(node, *_DEFAULTS) is None or not node.children[-2:]:
        return ""
    name = text_of(node.children[-2]).strip("\"'").rpartition("/")[2]
    return name if is_likely(name) else ""


def _alike(names: Iterable[str]) -> str:
    """The one name of all; of several container commands, which are called alike, the first."""
    several = list(names)
    if not several or ("" in several):
        return ""
    is_same = len(set(several)) == 1 or set(several) <= set(CONTAINERS)
    return several[0] if is_same else ""
