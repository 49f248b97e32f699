"""What the image's Keras refuses of optimizers: arguments, and attributes that left with Keras 3."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_OPTIMIZER = ("optimizer", "opt", "optim")
_GONE = {
    "lr": "write learning_rate",
    "get_weights": "use optimizer.variables",
    "weights": "use optimizer.variables",
    "get_updates": "use optimizer.apply_gradients",
    "minimize": "use tf.GradientTape and optimizer.apply_gradients",
}


def old_attributes(tree: ast.AST, keras: str) -> Iterator[tuple[int, str, str]]:
    """The lines that use what optimizers of Keras 3 have not, what is wrong, and what to write.

    Args:
        tree: a program that uses Keras.
        keras: the image's version of Keras.
    """
    if not keras.startswith("3"):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr not in _GONE:
            continue
        if last_word(node.value) not in _OPTIMIZER:
            continue
        message = f"optimizers of Keras {keras} have no {node.attr}"
        if isinstance(node.ctx, ast.Store):
            message = f"setting {node.attr} of an optimizer changes nothing in Keras {keras}"
        yield node.lineno, message, _GONE[node.attr]


def of_optimizer(words: list[str], call: ast.Call, keras: str) -> Iterator[tuple[str, str, bool]]:
    """What is wrong with a call of an optimizer: message, fix, whether it is certain."""
    of_three, name = keras.startswith("3"), words[-1]
    given = keywords(call)
    if "legacy" in words:
        if of_three:
            yield f"Keras {keras} has no optimizers.legacy", f"use tf.keras.optimizers.{name}", True
        return
    if "lr" in given:
        if of_three:
            message = f"{name} of Keras {keras} takes no lr"
        else:
            message = f"{name} of Keras {keras} ignores lr"
        yield message, "write learning_rate", of_three
    if "decay" in given and not _is_none(given["decay"]):
        if of_three:
            message = f"{name} of Keras {keras} ignores decay"
        else:
            message = f"{name} of Keras {keras} takes no decay"
        fix = "give learning_rate a tf.keras.optimizers.schedules.InverseTimeDecay"
        yield message, fix, not of_three


def last_word(node: ast.expr) -> str:
    """The last name of ``a.b.c``; nothing of another expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keywords(call: ast.Call) -> dict[str | None, ast.expr]:
    """The named arguments of a call; None stands for ``**``."""
    return {word.arg: word.value for word in call.keywords}


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
