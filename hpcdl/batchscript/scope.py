"""The variables of a script on the way through it: what sets them, and what is known of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcdl.batchscript.innertext import Lines
from hpcdl.batchscript.model import Assignment, Program, Seen, Shell, Word
from hpcdl.batchscript.passed import Passed
from hpcdl.batchscript.programnames import is_likely, program_of_ways
from hpcdl.batchscript.shelltree import child_of, descendants, line_of, text_of
from hpcdl.batchscript.whereabouts import Whereabouts
from hpcdl.batchscript.words import Values, word_of

if TYPE_CHECKING:
    from tree_sitter import Node

_SETTERS = ("read", "mapfile", "readarray", "getopts", "let")  # they set variables that they name
_SETTING_NODES = ("for_statement", "postfix_expression", "unary_expression", "binary_expression")
_CHANGES = ("=", "*=", "/=", "%=", "+=", "-=", "<<=", ">>=", "&=", "^=", "|=")  # in (( ))
_APART = ("subshell", "command_substitution", "process_substitution", "function_definition")
_LOCAL = ("local", "declare", "typeset")
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class State:
    """What is known at a place of a script; a shell of its own leaves it as it was."""

    known: dict[str, str | None]
    where: Whereabouts
    seen: Seen | None
    exported: frozenset[str]
    programs: dict[str, str]

    def program(self, name: str) -> str:
        """The program that a variable is; empty where it is not known."""
        return self.programs.get(name) or (self.known.get(name) or "").rpartition("/")[2]


@dataclass
class Scope:
    """What is set so far, and where it is; `exporting` is set -a.

    `assignments` are all of the script, `seen` those that the next command sees. `movers` are the
    script's functions that change the folder. `sets` are all functions with the names that each
    may set, `bodies` those with what each sets in its order.
    `shell` and `lines` are of the text behind bash -c; None for that of the script itself.
    """

    values: Values
    starts_at_submit: bool = True
    assignments: list[Assignment] = field(default_factory=list)
    exporting: bool = False
    where: Whereabouts = Whereabouts()
    seen: Seen | None = None
    movers: set[str] = field(default_factory=set)
    sets: dict[str, set[str]] = field(default_factory=dict)
    bodies: dict[str, tuple[Seen, ...]] = field(default_factory=dict)
    shell: Shell | None = None  # of bash -c, in whose text it is
    lines: Lines | None = None  # of that text
    _function: str | None = None  # in whose body it is
    _locals: set[str] = field(default_factory=set)  # of that function
    _places: dict[str, list[int]] = field(default_factory=dict)  # in assignments, by name
    _exported: set[str] = field(default_factory=set)

    def begin(self, exported: set[str]) -> None:
        """Before the first command: programs see these variables."""
        self._exported |= exported

    def line_of(self, node: Node) -> int:
        """The line of the script on which a node begins."""
        return line_of(node) if self.lines is None else self.lines.at(node.start_point)

    def end_line_of(self, node: Node) -> int:
        """The line of the script on which a node ends."""
        point = node.end_point
        return point[0] + 1 if self.lines is None else self.lines.at(point)

    def within(self, program: Program, lines: Lines) -> Scope:
        """What the text behind bash -c knows at its beginning.

        Args:
            program: the shell, with what stands in front of it.
            lines: where its text stands.
        """
        hidden = (self.values.known.keys() | self._places.keys()) - self._exported
        known: dict[str, str] = {}
        for name in self._exported:
            value = self.values.known.get(name)
            if value is not None:
                known[name] = value
        passed = Passed(known, set(hidden), dict(self.values.outside)).through(program)
        is_inside = program.is_inside
        programs = {}
        if not is_inside and not passed.is_clean:
            ours = self.values.programs
            programs = {name: ours[name] for name in ours.keys() & self._exported}
        inner = Scope(
            Values(passed.outside, dict(passed.values), self.values.left, programs),
            self.starts_at_submit,
            where=Whereabouts(program.inside if is_inside else program.went),
            seen=self.seen,
            sets=self.sets,
            shell=passed.shell(is_inside=is_inside, outer=self.shell),
            lines=lines,
            _function=self._function,
            _exported={*self._exported, *passed.values},
        )
        for name, word in program.command.env:
            went = self.where.now
            line = program.command.line
            inner._see(Assignment(name, word, line, exported=True, went=went))
        return inner

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
        self.values.set(name, word.text, word.program)
        is_exported = exported or name in self._exported
        line, went = self.line_of(node), self.where.now
        self._add(Assignment(name, word, line, is_exported, not is_sure, went))

    def _add(self, assignment: Assignment) -> None:
        self._places.setdefault(assignment.name, []).append(len(self.assignments))
        self.assignments.append(assignment)
        self._see(assignment)
        if assignment.exported:
            self._exported.add(assignment.name)

    def _see(
        self, assignment: Assignment, *, is_unset: bool = False, is_lost: bool = False
    ) -> None:
        is_local = assignment.name in self._locals
        self.seen = Seen(assignment, self.seen, is_unset, is_lost, is_local, self._function)

    def declare_local(self, names: set[str]) -> None:
        """These are the function's own from here on."""
        if self._function is not None:
            self._locals |= names

    @contextmanager
    def function(self, name: str) -> Iterator[None]:
        """The body of a function."""
        outer, outer_locals = self._function, self._locals
        self._function, self._locals = name, set()
        start = self.seen
        yield
        body: list[Seen] = []
        item = self.seen
        while item is not None and item is not start:
            if item.function == name and not item.is_local:
                body.append(item)
            item = item.before
        self.bodies[name] = tuple(reversed(body))
        self._function, self._locals = outer, outer_locals

    def of_shell(self, word: Word) -> Word:
        """A word, as one of this shell's."""
        return word if self.shell is None else replace(word, shell=self.shell)

    def of_assignment(self, node: Node) -> tuple[str, Word]:
        """The name and the value; an array's value, or an element's, is not known."""
        name, word = self._of_assignment(node)
        return name, self.of_shell(word)

    def _of_assignment(self, node: Node) -> tuple[str, Word]:
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
            self._see(replace(last, conditional=not is_sure))
            self._exported.add(name)
        else:
            word = Word(self.values.get(name), f"${name}", (f"${name}",), (name,))
            self._add(Assignment(name, word, line, True, not is_sure))

    def unset(self, names: set[str], line: int, is_sure: bool) -> None:
        """The variables of `unset NAME …` are gone; those of one that may not run, not known."""
        self.forget(names)
        for name in names & self._places.keys():
            gone = Assignment(name, Word(None, f"${name}"), line, name in self._exported, True)
            self._see(gone, is_unset=is_sure)

    def lose(self, names: set[str], line: int) -> None:
        """The values of these are not known from here on, and not to be written as they were."""
        self.forget(names)
        for name in names & self._places.keys():
            gone = Assignment(name, Word(None, f"${name}"), line, name in self._exported, True)
            self._see(gone, is_lost=True)

    def command(self, given: list[Word], line: int) -> None:
        """What a command does to variables, and to the folder."""
        self.where = self.where.after(given, self.starts_at_submit)
        words = [word.text for word in given]
        name, args = (words[0], words[1:]) if words else (None, [])
        if name in self.movers:
            self.where = Whereabouts(None)
        if name in self.sets:
            self.forget(self.sets[name] & self.values.known.keys())
            self.seen = Seen(None, self.seen, function=self._function, call=name)
        elif name in _SETTERS:
            texts = [word.raw.strip("\"'") for word in given[1:]]
            self.lose(_set_by(name, texts), line)
        elif name == "printf" and "-v" in args[:-1]:
            self.lose({args[args.index("-v") + 1] or ""}, line)
        elif name == "set" and args:
            on = "-a" in args or args[:2] == ["-o", "allexport"]
            off = "+a" in args or args[:2] == ["+o", "allexport"]
            self.exporting = (self.exporting or on) and not off

    def forget(self, names: set[str]) -> None:
        """The values of these are not known from here on."""
        known = self.values.known
        for name in names:
            self.values.programs.pop(name, None)
            if known.get(name, "") is not None and name.isidentifier():
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
        values, exported = self.values, frozenset(self._exported)
        return State(dict(values.known), self.where, self.seen, exported, dict(values.programs))

    def go_back(self, state: State) -> None:
        """What was known there is known here; all that is set since is gone."""
        self.go_on(state)
        self.seen = state.seen
        self._exported = set(state.exported)

    def go_on(self, state: State) -> None:
        """The same for another way through the script, of which both may be gone."""
        self.values.known, self.where = dict(state.known), state.where
        self.values.programs = dict(state.programs)

    def join(self, ends: list[State]) -> None:
        """One of several ways has been gone: only what is the same on all is known."""
        self.values.known = joined([end.known for end in ends])
        self.values.programs = {}
        for name, value in self.values.known.items():
            if value is not None:
                continue
            program = program_of_ways(end.program(name) for end in ends)
            if is_likely(program):
                self.values.programs[name] = program
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


def _set_by(command: str, args: list[str]) -> set[str]:
    """The names that read, let and the like set."""
    if command == "let":
        return {name for arg in args for name in _NAME.findall(arg)}
    names = {"REPLY", "OPTARG", "MAPFILE"}
    names.update(arg.partition("=")[0] for arg in args)
    return names


def _only_looks(node: Node) -> bool:
    """Whether an expression such as -e $X or X == 1 changes nothing, unlike ++X."""
    if node.type == "binary_expression":
        return child_of(node, *_CHANGES) is None or node.children[0].type != "variable_name"
    return node.type == "unary_expression" and child_of(node, "++", "--") is None


def set_in(node: Node) -> set[str]:
    """The variables that a part of a script may set."""
    nodes = list(descendants(node))
    assigned = {_first_name(found) for found in nodes if found.type == "variable_assignment"}
    return (assigned | set_otherwise(nodes)) - {""}


def set_otherwise(nodes: list[Node]) -> set[str]:
    """The variables that some nodes set in another way than X=1: with read, a loop, (( ))."""
    names: set[str] = set()
    for found in nodes:
        if found.type in _SETTING_NODES and not _only_looks(found):
            names.add(_first_name(found))
        elif found.type == "command" and text_of(found.children[0]) in (*_SETTERS, "printf"):
            texts = [text_of(child).strip("\"'") for child in found.children[1:]]
            names |= _set_by(text_of(found.children[0]), texts)
        elif found.type == "expansion" and child_of(found, ":=", "=") is not None:
            names |= {text_of(child) for child in found.children if child.type == "variable_name"}
    return names


def set_by_functions(root: Node) -> dict[str, set[str]]:
    """The functions of a script, and the variables that a call of each may set."""
    functions = [node for node in descendants(root) if node.type == "function_definition"]
    sets: dict[str, set[str]] = {}
    for function in functions:
        sets.setdefault(name_of_function(function), set()).update(set_by_call(function))
    every: set[str] = set().union(*sets.values())
    for function in functions:
        commands = filter(lambda node: node.type == "command", _of_body(function))
        if any(text_of(node.children[0]) in sets for node in commands):
            sets[name_of_function(function)] = every  # what it calls may call others
    return sets


def set_by_call(function: Node) -> set[str]:
    """The variables that a function sets itself, without its own."""
    names: set[str] = set()
    own: set[str] = set()
    for node in _of_body(function):
        if node.type == "declaration_command" and text_of(node.children[0]) in _LOCAL:
            own.update(map(_first_name, node.children[1:]))
        elif node.type == "variable_assignment":
            names.add(_first_name(node))
    return (names | set_otherwise(list(_of_body(function)))) - own


def _of_body(function: Node) -> Iterator[Node]:
    """All of a function but what a shell of its own, or another function, does."""
    waiting = list(function.children)
    while waiting:
        node = waiting.pop()
        if node.type not in _APART:
            yield node
            waiting += node.children


def name_of_function(node: Node) -> str:
    """The name of a function's definition."""
    word = child_of(node, "word")
    return "" if word is None else text_of(word)


def _first_name(node: Node) -> str:
    names = filter(lambda child: child.type == "variable_name", descendants(node))
    return next(map(text_of, names), "")
