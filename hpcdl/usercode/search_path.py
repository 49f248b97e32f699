"""Which folders a program adds to Python's search path, as far as its text says."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator

from hpcdl.usercode.source import parse_source

_ADDS = ("append", "insert", "extend")
_ABOVE = ("parent", "dirname")


def added_folders(source: str) -> list[str]:
    """The folders that ``sys.path.append("src")`` and the like add, relative to the program's own.

    ``os.path.join(os.path.dirname(__file__), "..", "src")`` and ``Path(__file__).parent / "src"``
    are ``../src`` and ``src``. What is put together otherwise is left out.
    """
    tree = parse_source(source) if "sys.path" in source else None
    folders = []
    for node in ast.walk(tree) if tree else ():
        for expression in _added(node):
            folder = _folder(expression)
            if folder is not None and folder not in folders:
                folders.append(folder)
    return folders


def _added(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that a statement puts on ``sys.path``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in _ADDS and _is_sys_path(node.func.value) and node.args:
            yield from _items(node.args[-1])
    elif isinstance(node, ast.AugAssign) and _is_sys_path(node.target):
        yield from _items(node.value)


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.List | ast.Tuple) else [node]


def _is_sys_path(node: ast.expr) -> bool:
    return ast.unparse(node) == "sys.path"


def _folder(node: ast.expr) -> str | None:
    """The folder that an expression means; None if its text does not say it."""
    constants = [inner for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
    constants.sort(key=lambda inner: (inner.lineno, inner.col_offset))
    words = [inner.value for inner in constants if isinstance(inner.value, str)]
    names = [_name(inner) for inner in ast.walk(node)]
    from_file = "__file__" in names
    above = sum(name in _ABOVE for name in names)
    if not words and not from_file:
        return None
    if from_file and above == 0:
        return None
    ups = [".."] * (above - 1) if from_file else []
    return os.path.normpath(os.path.join(*ups, *words, ""))


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
