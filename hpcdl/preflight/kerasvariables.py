"""What the variables of a program hold, as far as its text says: Keras models, and texts."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcdl.preflight import kerastable as table


@dataclass
class Variables:
    """What a program's variables hold.

    Args:
        models: the variables that hold Keras models for certain.
        values: the expressions of the variables that are assigned once.
        defined: the functions, methods and classes that the program defines.
        saves_folders: whether it may save models as folders, which Keras 3 can read.
    """

    models: set[str] = field(default_factory=set)
    values: dict[str, ast.expr] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    saves_folders: bool = False


def variables_of(
    tree: ast.Module, source: str, named_calls: Sequence[tuple[str, ast.Call, bool]]
) -> Variables:
    """What a program's variables hold. Nothing is certain about one that is assigned twice.

    Args:
        tree: the program.
        source: its text.
        named_calls: its calls, from `all_calls`.
    """
    variables = Variables(saves_folders="zipped" in source)
    functions = {_span(call): name for name, call, _ in named_calls}
    values: dict[str, list[ast.expr | None]] = {}  # None stands for an argument's value
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            variables.defined.add(node.name)
        elif isinstance(node, ast.arg):
            values.setdefault(node.arg, []).append(None)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            (target,) = node.targets
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(node.value)
    for name, assigned in values.items():
        if all(value and _makes_a_model(functions.get(_span(value), "")) for value in assigned):
            variables.models.add(name)
        if len(assigned) == 1 and assigned[0] is not None:
            variables.values[name] = assigned[0]
    return variables


def _makes_a_model(function: str) -> bool:
    words = function.split(".")
    if "keras" not in words:
        return False
    return words[-1] in table.MAKES_A_MODEL or "applications" in words


def _span(node: ast.expr) -> tuple[int, int, int | None, int | None]:
    """Where an expression stands, which identifies it."""
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
