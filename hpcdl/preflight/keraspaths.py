"""The names of files in calls of Keras, as far as a program's text says how they end."""

from __future__ import annotations

import ast

from hpcdl.preflight.kerasoptimizers import keywords, last_word
from hpcdl.preflight.kerasvariables import Variables

_MAX_DEPTH = 5  # of variables that are assigned from others


def argument_at(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """An argument by its name, or else by its position from 0; None if it is not given."""
    arguments = keywords(call)
    if name in arguments:
        return arguments[name]
    if len(call.args) > position and not isinstance(call.args[position], ast.Starred):
        return call.args[position]
    return None


def wrong_ending(
    node: ast.expr | None, endings: tuple[str, ...], variables: Variables, accepted: str = "\0"
) -> str | None:
    """A file's name, for messages, if it certainly has a wrong ending; None otherwise.

    Args:
        node: the expression for the name.
        endings: the right endings.
        variables: what the program's variables hold.
        accepted: a beginning with which any ending is right.
    """
    if node is None:
        return None
    text, is_whole = _end_of(node, variables)
    if not text or text.startswith(accepted) or text.endswith(endings):
        return None
    if not is_whole and any(ending.endswith(text) for ending in endings):
        return None
    return repr(text) if is_whole else repr(f"...{text}")


def _end_of(node: ast.expr, variables: Variables, depth: int = 0) -> tuple[str, bool]:
    """The end of a text, as far as it is written out, and whether that is the whole text."""
    if isinstance(node, ast.Constant):
        return (node.value, True) if isinstance(node.value, str) else ("", False)
    if isinstance(node, ast.Name) and depth < _MAX_DEPTH and node.id in variables.values:
        return _end_of(variables.values[node.id], variables, depth + 1)
    if isinstance(node, ast.JoinedStr) and node.values:
        text, _ = _end_of(node.values[-1], variables, depth + 1)
        return text, False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        text, _ = _end_of(node.right, variables, depth + 1)
        return text, False
    if isinstance(node, ast.Call) and node.args and not node.keywords:
        function = last_word(node.func)
        if function in ("Path", "str", "join", "joinpath"):
            text, is_whole = _end_of(node.args[-1], variables, depth + 1)
            return text, is_whole and len(node.args) == 1 and function != "join"
    return "", False
