"""Goes through a script as bash would, without running it: commands, assignments, what is known."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcdl.batchscript.model import Assignment, Command, Redirect, Word
from hpcdl.batchscript.shelltree import descendants, line_of, text_of
from hpcdl.batchscript.words import EXPANSIONS, Values, word_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

_SETTERS = ("read", "mapfile", "readarray", "getopts", "let")  # they set variables that they name
_SUBSTITUTIONS = ("command_substitution", "process_substitution")


@dataclass(frozen=True)
class _Place:
    """Where a command stands."""

    in_loop: bool = False
    conditional: bool = False
    function: str | None = None
    reads_pipe: bool = False
    writes_pipe: bool = False
    background: bool = False
    substituted: bool = False
    heredoc: str | None = None
    redirects: tuple[Redirect, ...] = ()

    @property
    def is_sure(self) -> bool:
        """Whether the script comes to it once, where it stands."""
        return not (self.in_loop or self.conditional or self.function)


@dataclass
class Walk:
    """What is found on the way; `exporting` is set -a."""

    values: Values
    commands: list[Command] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    uses: list[tuple[str, int]] = field(default_factory=list)
    exporting: bool = False

    def script(self, root: Node) -> None:
        """Everything of a script."""
        self._children(root, _Place())
        for node in descendants(root):
            if node.type in EXPANSIONS:
                name = next((c for c in node.children if c.type == "variable_name"), None)
                if name is not None:
                    self.uses.append((text_of(name), line_of(name)))

    # Statements

    def _statement(self, node: Node, place: _Place) -> None:
        visit = _VISITS.get(node.type)
        if visit is not None:
            visit(self, node, place)

    def _children(self, node: Node, place: _Place) -> None:
        """The statements of a block; one before & runs beside the others."""
        children = node.children
        for child, following in zip(children, [*children[1:], None], strict=True):
            if following is not None and following.type == "&":
                self._statement(child, replace(place, background=True))
            else:
                self._statement(child, place)

    def _list(self, node: Node, place: _Place) -> None:
        """One && other: whether the second comes is not known."""
        first, *others = [child for child in node.children if child.is_named]
        self._statement(first, place)
        for child in others:
            with self._maybe():
                self._statement(child, replace(place, conditional=True))

    def _pipeline(self, node: Node, place: _Place) -> None:
        parts = [child for child in node.children if child.is_named and child.type != "comment"]
        opens = bool(node.children) and node.children[0].type in ("|", "|&")  # behind <<EOF
        for number, child in enumerate(parts):
            with self._apart():
                inner = replace(
                    place,
                    reads_pipe=number > 0 or opens or place.reads_pipe,
                    writes_pipe=number < len(parts) - 1 or place.writes_pipe,
                )
                if number < len(parts) - 1:
                    inner = replace(inner, heredoc=None, redirects=())
                self._statement(child, inner)

    def _if(self, node: Node, place: _Place) -> None:
        """Branches: what one of them sets is not known after them."""
        before = dict(self.values.known)
        ends: list[dict[str, str | None]] = []
        has_else = any(child.type == "else_clause" for child in node.children)
        inner = replace(place, conditional=True)
        is_condition = True
        for child in node.children:
            if child.type == "then":
                is_condition = False
            elif child.type in ("elif_clause", "else_clause"):
                ends.append(self.values.known)
                self.values.known = dict(before)
                self._children(child, inner)
            else:
                self._statement(child, place if is_condition else inner)
                if is_condition:
                    before = dict(self.values.known)
        ends.append(self.values.known)
        self.values.known = _joined(ends if has_else else [*ends, before])

    def _case(self, node: Node, place: _Place) -> None:
        before = dict(self.values.known)
        ends = [before]
        for child in node.children:
            if child.type == "case_item":
                self.values.known = dict(before)
                self._substitutions(child, place)
                self._children(child, replace(place, conditional=True))
                ends.append(self.values.known)
        self.values.known = _joined(ends)

    def _loop(self, node: Node, place: _Place) -> None:
        """A loop: what it sets is not known in it, nor after it."""
        inner = replace(place, in_loop=True)
        names = set_in(node)
        self._forget(names)
        for child in node.children:
            if child.type in _SUBSTITUTIONS or not child.is_named:
                continue
            self._statement(child, inner)
            if child.type not in _VISITS:
                self._substitutions(child, place)
        self._forget(names)

    def _function(self, node: Node, place: _Place) -> None:
        """A function: it may be called at any time, so that what it sets is not known any more."""
        name = text_of(node.children[0])
        if name == "function" and len(node.children) > 1:
            name = text_of(node.children[1])
        self.functions.append(name)
        with self._apart():
            later = {found for found in set_in(_top(node)) if found not in self.values.known}
            self._forget(later)
            for child in node.children:
                self._statement(child, replace(place, function=name))
        self._forget(set_in(node))

    def _subshell(self, node: Node, place: _Place) -> None:
        with self._apart():
            self._children(node, place)

    def _test(self, node: Node, place: _Place) -> None:
        self._substitutions(node, place)
        self._forget(set_in(node))

    def _redirected(self, node: Node, place: _Place) -> None:
        """A statement with its redirections, and what stands behind a here-document's mark."""
        heredoc, redirects = place.heredoc, list(place.redirects)
        later: list[Node] = []
        words: list[Node] = []
        parts = [child for child in node.children if child.type == "heredoc_redirect"]
        plain = [child for child in node.children if child.type == "file_redirect"]
        for part in parts:
            for child in part.children:
                if child.type == "heredoc_body":
                    heredoc = text_of(child)
                elif child.type == "file_redirect":
                    plain.append(child)
                elif child.type in _VISITS:
                    later.append(child)
                elif child.is_named and child.type not in ("heredoc_start", "heredoc_end"):
                    words.append(child)
        for child in node.children:
            if child.type == "herestring_redirect":
                heredoc = word_of(child.children[-1], self.values).text or text_of(child)
        redirects += [self._redirect(child) for child in plain]
        pipes = any(child.type == "pipeline" for child in later)
        inner = replace(place, heredoc=heredoc, redirects=tuple(redirects))
        if pipes:
            inner = replace(inner, writes_pipe=True)
        for child in node.children:
            if child.type in _VISITS:
                self._statement(child, inner)
        self._add_words(words)
        for child in later:
            is_pipe = child.type == "pipeline"
            self._statement(child, replace(place, conditional=place.conditional or not is_pipe))

    def _redirect(self, node: Node) -> Redirect:
        *operator, target = node.children
        for child in node.children:
            self._substitutions(child, _Place())
        return Redirect("".join(text_of(part) for part in operator), word_of(target, self.values))

    def _add_words(self, nodes: list[Node]) -> None:
        """Words behind <<EOF belong to the command before it."""
        if nodes and self.commands:
            more = [word for node in nodes for word in words_of(node, self.values)]
            last = self.commands[-1]
            self.commands[-1] = replace(last, words=(*last.words, *more))

    # Assignments

    def _assignment(self, node: Node, place: _Place) -> None:
        self._assign(node, place, exported=self.exporting)

    def _assignments(self, node: Node, place: _Place) -> None:
        for child in node.children:
            if child.type == "variable_assignment":
                self._assignment(child, place)

    def _assign(self, node: Node, place: _Place, exported: bool) -> None:
        self._substitutions(node, place)
        name, word = self._of_assignment(node)
        if not name:
            return
        self.values.known[name] = word.text
        is_exported = exported or any(a.exported for a in self.assignments if a.name == name)
        self.assignments.append(
            Assignment(name, word, line_of(node), is_exported, conditional=not place.is_sure)
        )

    def _of_assignment(self, node: Node) -> tuple[str, Word]:
        """The name and the value; an array's value, or an element's, is not known."""
        target = node.children[0]
        raw = text_of(node).partition("=")[2]
        if target.type != "variable_name":
            name = next((c for c in target.children if c.type == "variable_name"), None)
            return (text_of(name) if name is not None else "", Word(None, raw, (raw,)))
        name = text_of(target)
        has_value = len(node.children) > 2 and node.children[-1].type != "="
        word = word_of(node.children[-1] if has_value else None, self.values)
        if any(child.type == "+=" for child in node.children):
            before = self.values.get(name)
            text = None if before is None or word.text is None else before + word.text
            word = replace(word, text=text, unknown=() if text is not None else (f"${name}",))
        return name, word

    def _declaration(self, node: Node, place: _Place) -> None:
        """The commands export, declare, local, readonly."""
        kind = text_of(node.children[0])
        flags = [text_of(child) for child in node.children if child.type == "word"]
        exported = (kind == "export" and "-n" not in flags) or any(
            flag.startswith("-") and "x" in flag for flag in flags
        )
        for child in node.children:
            if child.type == "variable_assignment":
                self._assign(child, place, exported or self.exporting)
            elif child.type == "variable_name" and exported:
                self._export(text_of(child), line_of(child), place)
            elif child.type == "variable_name" and kind == "local":
                self.values.known[text_of(child)] = None
        self._command_of(node, place)

    def _export(self, name: str, line: int, place: _Place) -> None:
        """The variable of `export NAME`, which programs see from here on."""
        for number, assignment in enumerate(self.assignments):
            if assignment.name == name:
                self.assignments[number] = replace(assignment, exported=True)
        if not any(assignment.name == name for assignment in self.assignments):
            word = Word(self.values.get(name), f"${name}", (f"${name}",), (name,))
            self.assignments.append(Assignment(name, word, line, True, not place.is_sure))

    def _unset(self, node: Node, place: _Place) -> None:
        self._forget({text_of(c) for c in node.children if c.type in ("variable_name", "word")})
        self._command_of(node, place)

    # Commands

    def _command(self, node: Node, place: _Place) -> None:
        env: list[tuple[str, Word]] = []
        words: list[Word] = []
        heredoc, redirects = place.heredoc, list(place.redirects)
        self._substitutions(node, place)
        for child in node.children:
            if child.type == "variable_assignment":
                env.append(self._of_assignment(child))
            elif child.type == "file_redirect":
                redirects.append(self._redirect(child))
            elif child.type == "herestring_redirect":
                heredoc = word_of(child.children[-1], self.values).text or text_of(child)
            elif child.type == "$":
                continue  # of $"text"
            else:
                words += words_of(child, self.values)
        place = replace(place, heredoc=heredoc, redirects=tuple(redirects))
        self._add(node, place, tuple(words), tuple(env))
        self._effects([word.text for word in words], place)

    def _command_of(self, node: Node, place: _Place) -> None:
        """A command of the shell's own, as one of the commands: export, unset."""
        words = [word for child in node.children for word in _as_words(child, self.values)]
        self._add(node, place, tuple(words), ())

    def _add(
        self, node: Node, place: _Place, words: tuple[Word, ...], env: tuple[tuple[str, Word], ...]
    ) -> None:
        self.commands.append(
            Command(
                words=words,
                line=line_of(node),
                env=env,
                in_loop=place.in_loop,
                conditional=place.conditional,
                function=place.function,
                heredoc=place.heredoc,
                redirects=place.redirects,
                reads_pipe=place.reads_pipe,
                writes_pipe=place.writes_pipe,
                background=place.background,
                substituted=place.substituted,
                text=text_of(node),
                end_line=node.end_point[0] + 1,
            )
        )

    def _effects(self, words: list[str | None], place: _Place) -> None:
        """What a command does to variables."""
        name, *args = [*words, None][:1] + words[1:] if words else [None]
        if name in _SETTERS:
            self._forget({(arg or "").partition("=")[0] for arg in args})
        elif name == "printf" and "-v" in args[:-1]:
            self._forget({args[args.index("-v") + 1] or ""})
        elif name == "set" and args:
            on = "-a" in args or args[:2] == ["-o", "allexport"]
            off = "+a" in args or args[:2] == ["+o", "allexport"]
            self.exporting = (self.exporting or on) and not off

    def _substitutions(self, node: Node, place: _Place) -> None:
        """The commands in $(…) of a node: they run, in a shell of their own."""
        waiting = list(node.children)
        while waiting:
            child = waiting.pop(0)
            if child.type in _SUBSTITUTIONS:
                with self._apart():
                    bare = replace(place, heredoc=None, redirects=(), background=False)
                    self._children(child, replace(bare, substituted=True))
            else:
                waiting = [*child.children, *waiting]

    # What is known

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """What is set here does not stay."""
        before = dict(self.values.known)
        yield
        self.values.known = before

    @contextmanager
    def _maybe(self) -> Iterator[None]:
        """What is set here is not known afterwards, unless it is the same."""
        before = dict(self.values.known)
        yield
        self.values.known = _joined([before, self.values.known])

    def _forget(self, names: set[str]) -> None:
        for name in names:
            if name.isidentifier():
                self.values.known[name] = None


def _as_words(node: Node, values: Values) -> list[Word]:
    if node.type == "variable_assignment":
        return [Word(text_of(node), text_of(node))]
    if not node.is_named:
        return [Word(text_of(node), text_of(node))]
    return words_of(node, values)


def _joined(ends: list[dict[str, str | None]]) -> dict[str, str | None]:
    """What is known after one of several ways: only what is the same on all."""
    names = {name for end in ends for name in end}
    first = ends[0]
    return {
        name: first.get(name)
        if all(name in end and end[name] == first.get(name) for end in ends)
        else None
        for name in names
    }


def set_in(node: Node) -> set[str]:
    """The variables that a part of a script may set."""
    names = set()
    for found in descendants(node):
        if found.type in ("variable_assignment", "for_statement", "postfix_expression"):
            name = next((c for c in descendants(found) if c.type == "variable_name"), None)
            if name is not None:
                names.add(text_of(name))
        elif found.type == "command" and found.children:
            if text_of(found.children[0]) in (*_SETTERS, "printf"):
                names |= {text_of(child).partition("=")[0] for child in found.children[1:]}
    return names


def _top(node: Node) -> Node:
    while node.parent is not None:
        node = node.parent
    return node


_Visit = Callable[[Walk, "Node", _Place], None]
_VISITS: dict[str, _Visit] = {
    "command": Walk._command,
    "redirected_statement": Walk._redirected,
    "variable_assignment": Walk._assignment,
    "variable_assignments": Walk._assignments,
    "declaration_command": Walk._declaration,
    "unset_command": Walk._unset,
    "list": Walk._list,
    "pipeline": Walk._pipeline,
    "if_statement": Walk._if,
    "case_statement": Walk._case,
    "while_statement": Walk._loop,
    "for_statement": Walk._loop,
    "c_style_for_statement": Walk._loop,
    "function_definition": Walk._function,
    "subshell": Walk._subshell,
    "test_command": Walk._test,
    **dict.fromkeys(
        ("program", "compound_statement", "do_group", "negated_command"), Walk._children
    ),
}
