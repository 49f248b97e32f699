"""The variables of a script on the way through it: what sets them, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcdl.batchscript.model import Assignment, Seen, Word
from hpcdl.batchscript.shelltree import child_of, descendants, line_of, text_of
from hpcdl.batchscript.whereabouts import Whereabouts
from hpcdl.batchscript.words import Values, word_of

if TYPE_CHECKING:
    from tree_sitter import Node

_SETTERS = ("read", "mapfile", "readarray", "getopts", "let")  # they set variables that they name
_SETTING_NODES = ("variable_assignment", "for_statement", "postfix_expression", "unary_expression")


@dataclass(frozen=True)
class State:
    """What is known at a place of a script; a shell of its own leaves it as it was."""

    known: dict[str, str | None]
    where: Whereabouts
    seen: Seen | None


@dataclass
class Scope:
    """What is set so far, and where it is; `exporting` is set -a.

    `assignments` are all of the script, `seen` those that the next command sees. `movers` are the
    script's functions that change the folder.
    """

    values: Values
    starts_at_submit: bool = True
    assignments: list[Assignment] = field(default_factory=list)
    exporting: bool = False
    where: Whereabouts = Whereabouts()
    seen: Seen | None = None
    movers: set[str] = field(default_factory=set)
    _places: dict[str, list[int]] = field(default_factory=dict)  # in assignments, by name
    _exported: set[str] = field(default_factory=set)

    def begin(self, exported: set[str]) -> None:
        """Before the first command: programs see these variables."""
        self._exported |= exported

    def assign(self, node: Node, is_sure: bool, exported: bool) -> None:
        """Set the variable of an assignment.

        Args:
            node: the assignment.
            is_sure: whether the script comes to it for certain, once.
            exported: whether programs see it.
        """
        name, word = self.of_assignment(node)
        if not name:
            return
        self.values.set(name, word.text)
        is_exported = exported or name in self._exported
        line, went = line_of(node), self.where.now
        self._add(Assignment(name, word, line, is_exported, not is_sure, went))

    def _add(self, assignment: Assignment) -> None:
        self._places.setdefault(assignment.name, []).append(len(self.assignments))
        self.assignments.append(assignment)
        self.seen = Seen(assignment, self.seen)
        if assignment.exported:
            self._exported.add(assignment.name)

    def of_assignment(self, node: Node) -> tuple[str, Word]:
        """The name and the value; an array's value, or an element's, is not known."""
        target = node.children[0]
        raw = text_of(node).partition("=")[2]
        if target.type != "variable_name":
            element = child_of(target, "variable_name")
            return (text_of(element) if element is not None else "", Word(None, raw, (raw,)))
        name = text_of(target)
        has_value = len(node.children) > 2 and node.children[-1].type != "="
        word = word_of(node.children[-1] if has_value else None, self.values)
        if child_of(node, "+=") is not None:
            before = self.values.get(name)
            text = None if before is None or word.text is None else before + word.text
            word = replace(word, text=text, unknown=() if text is not None else (f"${name}",))
        return name, word

    def export(self, name: str, line: int, is_sure: bool) -> None:
        """The variable of `export NAME`, which programs see from here on."""
        places = self._places.get(name, [])
        for number in places:
            self.assignments[number] = replace(self.assignments[number], exported=True)
        if places:
            last = self.assignments[places[-1]]
            is_sure = is_sure and not last.conditional
            self.seen = Seen(replace(last, conditional=not is_sure), self.seen)
            self._exported.add(name)
        else:
            word = Word(self.values.get(name), f"${name}", (f"${name}",), (name,))
            self._add(Assignment(name, word, line, True, not is_sure))

    def unset(self, names: set[str], line: int, is_sure: bool) -> None:
        """The variables of `unset NAME …` are gone; those of one that may not run, not known."""
        self.forget(names)
        for name in names & self._places.keys():
            gone = Assignment(name, Word(None, f"${name}"), line, name in self._exported, True)
            self.seen = Seen(gone, self.seen, is_unset=is_sure)

    def command(self, given: list[Word]) -> None:
        """What a command does to variables, and to the folder."""
        self.where = self.where.after(given, self.starts_at_submit)
        words = [word.text for word in given]
        name, args = (words[0], words[1:]) if words else (None, [])
        if name in self.movers:
            self.where = Whereabouts(None)
        if name in _SETTERS:
            self.forget({(arg or "").partition("=")[0] for arg in args})
        elif name == "printf" and "-v" in args[:-1]:
            self.forget({args[args.index("-v") + 1] or ""})
        elif name == "set" and args:
            on = "-a" in args or args[:2] == ["-o", "allexport"]
            off = "+a" in args or args[:2] == ["+o", "allexport"]
            self.exporting = (self.exporting or on) and not off

    def forget(self, names: set[str]) -> None:
        """The values of these are not known from here on."""
        for name in names:
            if name.isidentifier():
                self.values.set(name, None)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is set here does not stay."""
        before = self.state()
        yield
        self.go_back(before)

    @contextmanager
    def maybe(self) -> Iterator[None]:
        """What is set here is not known afterwards, unless it is the same."""
        before = self.state()
        yield
        self.join([before, self.state()])

    def state(self) -> State:
        """What is known here."""
        return State(dict(self.values.known), self.where, self.seen)

    def go_back(self, state: State) -> None:
        """What was known there is known here; all that is set since is gone."""
        self.go_on(state)
        self.seen = state.seen

    def go_on(self, state: State) -> None:
        """The same for another way through the script, of which both may be gone."""
        self.values.known, self.where = dict(state.known), state.where

    def join(self, ends: list[State]) -> None:
        """One of several ways has been gone: only what is the same on all is known."""
        self.values.known = joined([end.known for end in ends])
        self.where = ends[0].where
        for end in ends[1:]:
            self.where = self.where.or_else(end.where)


def joined(ends: list[dict[str, str | None]]) -> dict[str, str | None]:
    """What is known after one of several ways: only what is the same on all."""
    first, names = ends[0], {name for end in ends for name in end}
    return {
        name: first[name] if all(name in end and end[name] == first[name] for end in ends) else None
        for name in names
        if name in first
    } | {name: None for name in names if name not in first}


def _only_looks(node: Node) -> bool:
    """Whether an expression such as -e $X changes nothing, unlike ++X."""
    return node.type == "unary_expression" and child_of(node, "++", "--") is None


def set_in(node: Node) -> set[str]:
    """The variables that a part of a script may set."""
    names = set()
    for found in descendants(node):
        if found.type in _SETTING_NODES and not _only_looks(found):
            name = next((c for c in descendants(found) if c.type == "variable_name"), None)
            if name is not None:
                names.add(text_of(name))
        elif found.type == "command" and text_of(found.children[0]) in (*_SETTERS, "printf"):
            names |= {text_of(child).partition("=")[0] for child in found.children[1:]}
        elif found.type == "expansion" and child_of(found, ":=", "=") is not None:
            names |= {text_of(child) for child in found.children if child.type == "variable_name"}
    return names
