"""What a program takes from TensorFlow, Keras and numpy by name, and which functions it calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from hpcdl.usercode.source import parse_source

ROOTS = ("tensorflow", "keras", "numpy")
INTERACTIVE = ("input", "get_ipython", "display")  # they need a person, or a notebook
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

# The expressions and statements of a program, outer ones first, each with whether it is run as soon
# as the program starts
_Nodes = list[tuple[ast.expr | ast.stmt, bool]]


@dataclass(frozen=True)
class _Imported:
    """A name of `ROOTS` that a program imports.

    Args:
        dotted: the real name: ``tensorflow.keras``.
        local: what the program calls it; "" for ``import *``.
        meaning: what the local name stands for: tensorflow after ``import tensorflow.keras``.
    """

    dotted: str
    local: str
    meaning: str


def names_used(source: str) -> dict[str, tuple[int, bool]]:
    """The dotted names that a program takes from `ROOTS`: ``tensorflow.keras.Model``.

    Names under ``if`` or ``try`` are left out: the program may know that they can be missing.

    Returns:
        for each name its first line, and whether the program needs it as soon as it starts.
    """
    nodes = _nodes_of(source)
    names: dict[str, tuple[int, bool]] = {}
    for node, at_once in nodes:
        for imported in _imports(node):
            names.setdefault(imported.dotted, (node.lineno, at_once))
    meanings = _meanings(nodes)
    inner: set[int] = set()  # parts of names that are in already: tf.keras in tf.keras.Model
    for node, at_once in nodes:
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        name = _dotted(node, meanings)
        if name is None or id(node) in inner:
            continue
        inner.update(id(part) for part in ast.walk(node))
        line, needed_before = names.get(name, (node.lineno, False))
        names[name] = line, needed_before or at_once
    return names


def calls(source: str) -> Iterator[tuple[str, ast.Call, bool]]:
    """What a program calls of `ROOTS`.

    Yields:
        the dotted name, the call, and whether it is made as soon as the program starts.
    """
    for name, call, at_once in all_calls(source):
        if name:
            yield name, call, at_once


def all_calls(source: str) -> Iterator[tuple[str, ast.Call, bool]]:
    """`calls`, and with an empty name all others of the program, such as those of methods."""
    nodes = _nodes_of(source)
    meanings = _meanings(nodes)
    for node, at_once in nodes:
        if isinstance(node, ast.Call):
            yield _dotted(node.func, meanings) or "", node, at_once


def unbound_calls(source: str) -> Iterator[tuple[str, int, bool]]:
    """The calls of `INTERACTIVE` functions that the program does not define.

    Yields:
        the function, the line, and whether it is called as soon as the program starts.
    """
    nodes = _nodes_of(source)
    defined: set[str] = set()
    for node, _ in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            defined.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    for node, at_once in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            if name in INTERACTIVE and name not in defined:
                yield name, node.lineno, at_once


def _nodes_of(source: str) -> _Nodes:
    tree = parse_source(source)
    return list(_unguarded(tree)) if tree else []


def _unguarded(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, bool]]:
    """The nodes of a program, but for those under ``if`` or ``try``.

    It is a loop, not a recursion: a sum of a thousand terms is a thousand levels deep.
    """
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, at_once = waiting.pop()
        is_guard = isinstance(node, ast.If) and not _asks_for_main(node)
        if is_guard or isinstance(node, ast.Try | ast.IfExp):
            continue
        if isinstance(node, ast.expr | ast.stmt):
            yield node, at_once
        if isinstance(node, _FUNCTIONS):
            at_once = False
        waiting.extend((child, at_once) for child in reversed(list(ast.iter_child_nodes(node))))


def _asks_for_main(node: ast.If) -> bool:
    """``if __name__ == "__main__":``."""
    return any(getattr(part, "id", "") == "__name__" for part in ast.walk(node.test))


def _meanings(nodes: _Nodes) -> dict[str, str]:
    """The dotted names that a program's own names stand for.

    Names that the program also uses for something else are left out.
    """
    meanings: dict[str, str] = {}
    ambiguous: set[str] = set()
    for node, _ in nodes:
        for imported in _imports(node):
            if imported.local:
                meanings[imported.local] = imported.meaning
        ambiguous.update(_bound_names(node))
    return {name: dotted for name, dotted in meanings.items() if name not in ambiguous}


def _imports(node: ast.AST) -> Iterator[_Imported]:
    """What a statement imports from `ROOTS`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            root = alias.name.partition(".")[0]
            if root in ROOTS and alias.asname:
                yield _Imported(alias.name, alias.asname, alias.name)
            elif root in ROOTS:
                yield _Imported(alias.name, root, root)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        if node.module.partition(".")[0] not in ROOTS:
            return
        for alias in node.names:
            if alias.name == "*":
                yield _Imported(node.module, "", "")
                continue
            dotted = f"{node.module}.{alias.name}"
            yield _Imported(dotted, alias.asname or alias.name, dotted)


def _bound_names(node: ast.AST) -> Iterator[str]:
    """The names that a node gives a value: by an assignment, or as a function's parameters."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, _FUNCTIONS):
        arguments = node.args
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            yield argument.arg


def _dotted(node: ast.AST, meanings: dict[str, str]) -> str | None:
    """The real dotted name of ``a.b.c``; None for anything else."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in meanings:
        return None
    return ".".join([meanings[node.id], *reversed(words)])
