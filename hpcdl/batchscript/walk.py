"""Goes through a script as bash would, without running it: its commands, in their places."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcdl.batchscript.innertext import inner_text, lines_of, with_args
from hpcdl.batchscript.model import Command, Program, Redirect, Word
from hpcdl.batchscript.programs import program_of, with_starters
from hpcdl.batchscript.scope import (
    Scope,
    name_of_function,
    set_by_call,
    set_by_functions,
    set_in,
    set_otherwise,
)
from hpcdl.batchscript.shelltree import child_of, descendants, parse, text_of
from hpcdl.batchscript.whereabouts import MOVERS, Whereabouts, with_calls
from hpcdl.batchscript.words import (
    EXPANSIONS,
    Values,
    is_option,
    word_of,
    words_of,
    words_of_command,
)

if TYPE_CHECKING:
    from tree_sitter import Node

_SUBSTITUTIONS = ("command_substitution", "process_substitution")
_HEREDOC_PARTS = ("heredoc_start", "heredoc_end", "heredoc_body", "file_redirect")
_MOST_SHELLS = 3  # bash -c within bash -c
_DEFAULTS = (":-", "-", ":=", "=", ":+", "+")
_NO_WORDS = ("variable_assignment", "file_redirect", "herestring_redirect", "$")


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
    """What is found on the way."""

    scope: Scope
    commands: list[Command] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    uses: list[tuple[str, int]] = field(default_factory=list)
    starter: Program | None = None  # the bash -c in whose text it goes
    args: tuple[Word, ...] | None = None  # $1 and the others of that text; None: not known
    set_names: set[str] = field(default_factory=set)  # by any text of bash -c
    _set_again: set[str] = field(default_factory=set)

    @property
    def values(self) -> Values:
        """What is known of the variables here."""
        return self.scope.values

    def script(self, root: Node) -> None:
        """Everything of a script."""
        self._set_again = _set_again(root)
        self.scope.sets = set_by_functions(root)
        self._children(root, _Place())
        self.commands = with_starters(self.commands, with_calls(self.commands))
        self.add_uses(root)

    def add_uses(self, root: Node) -> None:
        """The variables that a text uses without a default."""
        for node in descendants(root):
            name = child_of(node, "variable_name") if node.type in EXPANSIONS else None
            if name is not None and child_of(node, *_DEFAULTS) is None:
                self.uses.append((text_of(name), self.scope.line_of(name)))

    # Statements

    def _statement(self, node: Node, place: _Place) -> None:
        visit = _VISITS.get(node.type)
        if visit is not None:
            visit(self, node, place)

    def _children(self, node: Node, place: _Place) -> None:
        """The statements of a block; one before & runs beside the others."""
        children = node.children
        for child, following in zip(children, [*children[1:], None], strict=False):
            if following is not None and following.type == "&":
                with self.scope.apart():
                    self._statement(child, replace(place, background=True))
            else:
                self._statement(child, place)

    def _list(self, node: Node, place: _Place) -> None:
        """One && other: whether the second comes is not known; redirections are the last one's."""
        parts = [child for child in node.children if child.type in _VISITS]
        for child in parts:
            inner = place if child is parts[-1] else replace(place, heredoc=None, redirects=())
            if child is parts[0]:
                self._statement(child, inner)
                continue
            with self.scope.maybe():
                self._statement(child, replace(inner, conditional=True))

    def _pipeline(self, node: Node, place: _Place) -> None:
        parts = [child for child in node.children if child.is_named and child.type != "comment"]
        opens = bool(node.children) and node.children[0].type in ("|", "|&")  # behind <<EOF
        for number, child in enumerate(parts):
            is_last = number == len(parts) - 1
            inner = replace(
                place,
                reads_pipe=number > 0 or opens or place.reads_pipe,
                writes_pipe=not is_last or place.writes_pipe,
                heredoc=place.heredoc if is_last else None,
                redirects=place.redirects if is_last else (),
            )
            with self.scope.apart():
                self._statement(child, inner)

    def _if(self, node: Node, place: _Place) -> None:
        """Branches: what one of them sets is not known after them."""
        scope = self.scope
        before, ends = scope.state(), []
        inner = replace(place, conditional=True)
        is_condition = True
        for child in node.children:
            if child.type == "then":
                is_condition = False
            elif child.type in ("elif_clause", "else_clause"):
                ends.append(scope.state())
                scope.go_on(before)
                self._children(child, inner)
            else:
                self._statement(child, place if is_condition else inner)
                if is_condition:
                    before = scope.state()
        ends.append(scope.state())
        has_else = child_of(node, "else_clause") is not None
        scope.join(ends if has_else else [*ends, before])

    def _case(self, node: Node, place: _Place) -> None:
        before = self.scope.state()
        ends = [before]
        for child in node.children:
            if child.type == "case_item":
                self.scope.go_on(before)
                self._children(child, replace(place, conditional=True))
                ends.append(self.scope.state())
        self.scope.join(ends)

    def _loop(self, node: Node, place: _Place) -> None:
        """A loop: what it sets is not known in it, nor after it."""
        inner, names = replace(place, in_loop=True), set_in(node)
        self.scope.lose(names, self.scope.line_of(node))
        before = self.scope.where
        if self._moves(node):
            self.scope.where = Whereabouts(None)
        for child in node.children:
            if child.type in _VISITS:
                self._statement(child, inner)
            else:
                self._substitutions(child, place, itself=True)
        self.scope.lose(names, self.scope.line_of(node))
        self.scope.where = before.or_else(self.scope.where)

    def _moves(self, node: Node) -> bool:
        """Whether a part of a script may leave its folder."""
        names = {*MOVERS, *self.scope.movers}
        waiting = [node]
        while waiting:
            found = waiting.pop()
            if found.type == "command_name" and text_of(found) in names:
                return True
            if found.type not in (*_SUBSTITUTIONS, "subshell"):
                waiting += found.children
        return False

    def _function(self, node: Node, place: _Place) -> None:
        """A function: it may be called at any time, so that what it sets is not known any more."""
        name = name_of_function(node)
        self.functions.append(name)
        before, scope = self.scope.state(), self.scope
        scope.forget(self._set_again)
        scope.where = start = Whereabouts()  # from the folder of its call on
        with scope.function(name):
            for child in node.children:
                self._statement(child, replace(place, function=name))
        if (scope.where.now, scope.where.stack) != (start.now, start.stack):
            scope.movers.add(name)
        scope.go_on(before)
        scope.forget(set_by_call(node))

    def _subshell(self, node: Node, place: _Place) -> None:
        with self.scope.apart():
            self._children(node, place)

    def _test(self, node: Node, place: _Place) -> None:
        self._substitutions(node, place)
        self.scope.lose(set_in(node), self.scope.line_of(node))

    def _block(self, node: Node, place: _Place) -> None:
        """A block in braces, or (( an arithmetic expression ))."""
        if child_of(node, "((") is not None:
            self._test(node, place)
        else:
            self._children(node, place)

    # Redirections

    def _redirected(self, node: Node, place: _Place) -> None:
        """A statement with its redirections, and what stands behind a here-document's mark."""
        marks = [child for child in node.children if child.type == "heredoc_redirect"]
        inside = [child for mark in marks for child in mark.children]
        later = [child for child in inside if child.type in _VISITS]
        words = [
            child
            for child in inside
            if child.is_named and child.type not in (*_HEREDOC_PARTS, *_VISITS)
        ]
        inner = replace(
            place,
            heredoc=self._heredoc(node.children, inside) or place.heredoc,
            redirects=(*place.redirects, *self._redirects([*node.children, *inside])),
            writes_pipe=place.writes_pipe or any(child.type == "pipeline" for child in later),
        )
        for child in node.children:
            if child.type in _VISITS:
                self._statement(child, inner)
        self._add_words(words)
        for child in later:
            is_pipe = child.type == "pipeline"
            self._statement(child, replace(place, conditional=place.conditional or not is_pipe))

    def _heredoc(self, nodes: list[Node], inside: list[Node]) -> str | None:
        """The text of <<EOF or <<< among some nodes."""
        text = None
        for child in [*nodes, *inside]:
            if child.type == "heredoc_body":
                text = text_of(child)
            elif child.type == "herestring_redirect":
                text = word_of(child.children[-1], self.values).text or text_of(child)
        return text

    def _redirects(self, nodes: list[Node]) -> tuple[Redirect, ...]:
        return tuple(self._redirect(node) for node in nodes if node.type == "file_redirect")

    def _redirect(self, node: Node) -> Redirect:
        *operator, target = node.children
        self._substitutions(node, _Place())
        return Redirect("".join(text_of(part) for part in operator), word_of(target, self.values))

    def _add_words(self, nodes: list[Node]) -> None:
        """Words behind <<EOF belong to the command before it."""
        number = len(self.commands) - 1
        while number >= 0 and self.commands[number].starter is not self.starter:
            number -= 1
        if nodes and number >= 0:
            more = [word for node in nodes for word in words_of(node, self.values)]
            last = self.commands[number]
            self.commands[number] = replace(last, words=(*last.words, *more))

    # Commands

    def _assignments(self, node: Node, place: _Place) -> None:
        """A=1 B=2; with --x=1 among them, the parser has not seen that it is a command."""
        if any(map(is_option, node.children)):
            self._command(node, place)
        else:
            self._children(node, place)

    def _assignment(self, node: Node, place: _Place) -> None:
        self._substitutions(node, place)
        if is_option(node):
            words = words_of(node, self.values)
            self._add(node, place, tuple(words), ())
            return
        self.scope.assign(node, place.is_sure, exported=self.scope.exporting)

    def _declaration(self, node: Node, place: _Place) -> None:
        """The commands export, declare, local, readonly."""
        kind = text_of(node.children[0])
        flags = [text_of(child) for child in node.children if child.type == "word"]
        exported = (kind == "export" and "-n" not in flags) or any(
            flag.startswith("-") and "x" in flag for flag in flags
        )
        self._substitutions(node, place)
        if kind == "local" or (kind in ("declare", "typeset") and "-g" not in flags):
            names = [text_of(child).partition("=")[0] for child in node.children[1:]]
            self.scope.declare_local(set(names))
        for child in node.children:
            if child.type == "variable_assignment":
                self.scope.assign(child, place.is_sure, exported or self.scope.exporting)
            elif child.type == "variable_name" and exported:
                self.scope.export(text_of(child), self.scope.line_of(child), place.is_sure)
            elif child.type == "variable_name" and kind == "local":
                self.scope.forget({text_of(child)})
        self._command_of(node, place)

    def _unset(self, node: Node, place: _Place) -> None:
        names = {text_of(child) for child in node.children[1:]}
        self.scope.unset(names, self.scope.line_of(node), place.is_sure)
        self._command_of(node, place)

    def _command(self, node: Node, place: _Place) -> None:
        env: list[tuple[str, Word]] = []
        self._substitutions(node, place)
        parts: list[Node] = []
        for child in node.children:
            is_in_front = child.type == "variable_assignment" and not parts
            if is_in_front and not is_option(child):
                env.append(self.scope.of_assignment(child))
            elif child.type == "variable_assignment" or child.type not in _NO_WORDS:
                parts.append(child)
        words = self._own(words_of_command(parts, self.values))
        inner = replace(
            place,
            heredoc=self._heredoc(node.children, []) or place.heredoc,
            redirects=(*place.redirects, *self._redirects(node.children)),
        )
        self._add(node, inner, tuple(words), tuple(env))
        self._inner(parts, place)
        self.scope.command(words, self.scope.line_of(node))

    def _own(self, words: list[Word]) -> list[Word]:
        """The words of a command as those of this shell, with its arguments for $1 and $@."""
        if self.scope.shell is None:
            return words
        own: list[Word] = []
        for word in words:
            given = with_args(word, self.args)
            is_same = bool(given) and given[0] is word
            if is_same:
                given = [self.scope.of_shell(word)]
            own += given
        return own

    def _inner(self, parts: list[Node], place: _Place) -> None:
        """The commands in the text behind bash -c, where it is known; they run in its shell."""
        number = len(self.commands) - 1
        program = program_of(self.commands[number])
        inner = inner_text(program)
        if program is None or inner is None or inner.word.text is None:
            return
        if len(program.starters) > _MOST_SHELLS:
            return
        node = next((part for part in parts if text_of(part) == inner.word.raw), None)
        root = parse(inner.word.text)
        if node is None or not self._is_plain(root):
            return
        lines = lines_of(node, self.values, inner.word.text, self.scope.lines)
        scope = self.scope.within(program, lines)
        self.commands[number] = replace(program.command, is_read=True)
        program = replace(program, command=self.commands[number])
        args = None if _changes_args(root) else inner.args
        walk = Walk(scope, functions=self.functions, starter=program, args=args)
        bare = replace(place, heredoc=None, redirects=(), reads_pipe=False, writes_pipe=False)
        walk._children(root, bare)
        self.values.left = scope.values.left
        self.commands += walk.commands
        self.scope.assignments += scope.assignments
        self.set_names |= {*walk.set_names, *set_in(root)}
        if not program.is_inside and not inner.reads_files:
            walk.add_uses(root)
            self.uses += walk.uses

    def _is_plain(self, root: Node) -> bool:
        """Whether a text can be read for sure: bash's grammar, and no function's."""
        if root.has_error:
            return False
        for node in descendants(root):
            if node.type == "function_definition":
                return False
            if node.type == "command_name" and text_of(node) in self.scope.sets:
                return False  # a function of the script's, which it may have exported
        return True

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
                line=self.scope.line_of(node),
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
                end_line=self.scope.end_line_of(node),
                went=self.scope.where.now,
                seen=self.scope.seen,
                starter=self.starter,
            )
        )

    def _substitutions(self, node: Node, place: _Place, itself: bool = False) -> None:
        """The commands in $(…) of a node: they run, in a shell of their own."""
        waiting = deque([node] if itself else node.children)
        while waiting:
            child = waiting.popleft()
            if child.type in _SUBSTITUTIONS:
                bare = replace(place, heredoc=None, redirects=(), background=False)
                with self.scope.apart():
                    self._children(child, replace(bare, substituted=True))
            else:
                waiting.extendleft(reversed(child.children))


def _as_words(node: Node, values: Values) -> list[Word]:
    if node.type == "variable_assignment" or not node.is_named:
        return [Word(text_of(node), text_of(node))]
    return words_of(node, values)


def _changes_args(root: Node) -> bool:
    """Whether a text has other arguments than it is given, or tells nothing of them."""
    names = ("shift", "set", "getopts")
    nodes = filter(lambda node: node.type == "command_name", descendants(root))
    return any(text_of(node) in names for node in nodes)


def _set_again(root: Node) -> set[str]:
    """Variables that a script sets in more than one place, or in a way that gives no value."""
    nodes = list(descendants(root))
    assigned = filter(lambda node: node.type == "variable_assignment", nodes)
    names = Counter(text_of(node.children[0]) for node in assigned)
    again = {name for name, count in names.items() if count > 1}
    return again | set_otherwise(nodes)


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
    "compound_statement": Walk._block,
    **dict.fromkeys(("program", "do_group", "negated_command"), Walk._children),
}
