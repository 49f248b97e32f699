"""What Keras refuses in optimizers: old arguments, and attributes that left with Keras 3."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_OPTIMIZER = ("optimizer", "opt", "optim")
_OLD_ATTRIBUTES = {
    "lr": "write learning_rate",
    "get_weights": "use optimizer.variables",
    "weights": "use optimizer.variables",
    "get_updates": "use optimizer.apply_gradients",
    "minimize": "use tf.GradientTape and optimizer.apply_gradients",
}


def old_attributes(tree: ast.AST, keras: str) -> Iterator[tuple[int, str, str]]:
    """The uses of attributes that optimizers of Keras 3 do not have.

    Args:
        tree: a program that uses Keras.
        keras: the image's version of Keras.

    Yields:
        the line, what is wrong there, and what to write.
    """
    if not keras.startswith("3"):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr not in _OLD_ATTRIBUTES:
            continue
        if last_word(node.value) not in _OPTIMIZER:
            continue
        message = f"optimizers of Keras {keras} have no {node.attr}"
        if isinstance(node.ctx, ast.Store):
            message = f"setting {node.attr} of an optimizer changes nothing in Keras {keras}"
        yield node.lineno, message, _OLD_ATTRIBUTES[node.attr]


def of_optimizer(words: list[str], call: ast.Call, keras: str) -> Iterator[tuple[str, str, bool]]:
    """What is wrong with a call of an optimizer.

    Yields:
        what is wrong, what to write, and whether the call fails for certain.
    """
    is_keras_3, name = keras.startswith("3"), words[-1]
    arguments = keywords(call)
    if "legacy" in words:
        if is_keras_3:
            yield f"Keras {keras} has no optimizers.legacy", f"use tf.keras.optimizers.{name}", True
        return
    if "lr" in arguments:
        if is_keras_3:
            message = f"{name} of Keras {keras} takes no lr"
        else:
            message = f"{name} of Keras {keras} ignores lr"
        yield message, "write learning_rate", is_keras_3
    if "decay" in arguments and not _is_none(arguments["decay"]):
        if is_keras_3:
            message = f"{name} of Keras {keras} ignores decay"
        else:
            message = f"{name} of Keras {keras} takes no decay"
        fix = "give learning_rate a tf.keras.optimizers.schedules.InverseTimeDecay"
        yield message, fix, not is_keras_3


def last_word(node: ast.expr) -> str:
    """The last name of ``a.b.c``; "" for another expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keywords(call: ast.Call) -> dict[str | None, ast.expr]:
    """The named arguments of a call; None stands for ``**``."""
    return {word.arg: word.value for word in call.keywords}


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
