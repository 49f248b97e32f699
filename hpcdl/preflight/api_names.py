"""What a program takes from TensorFlow, Keras and numpy by name, to be looked for in the image's versions of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hpcdl.usercode.source import parse_source

ROOTS = ("tensorflow", "keras", "numpy")
INTERACTIVE = ("input", "get_ipython", "display")  # what only a person answers, or a notebook has
# Since when a name is there, or until when it was: by the longest beginning of it that is listed.
# Sources: https://github.com/tensorflow/tensorflow/releases (2.16), https://keras.io/keras_3, the tags of https://github.com/keras-team/keras,
# https://numpy.org/doc/stable/release/1.24.0-notes.html, https://numpy.org/doc/stable/numpy_2_0_migration_guide.html
_HISTORY = {
    "tensorflow.keras.optimizers.Lion": "it came with TensorFlow 2.13",
    "tensorflow.keras.wrappers": "it left with TensorFlow 2.13",
    "tensorflow.contrib": "it left with TensorFlow 2.0; TensorFlow Addons has some of it",
    "tensorflow.examples": "it left with TensorFlow 2.0; see tf.keras.datasets",
    **{
        f"tensorflow.{name}": f"it left with TensorFlow 2.0; see tf.compat.v1.{name}"
        for name in ("placeholder", "Session", "global_variables_initializer", "app", "flags")
    },
    "tensorflow.estimator": "it left with TensorFlow 2.16",
    "tensorflow.keras.ops": "it came with Keras 3 (TensorFlow 2.16)",
    "tensorflow.keras.random": "it came with Keras 3 (TensorFlow 2.16)",
    "tensorflow.keras.layers.experimental": "it left with Keras 3 (TensorFlow 2.16); see tf.keras.layers",
    **{
        f"{root}.{name}": f"it left with Keras 3; see tf.keras.{instead}"
        for root in ("keras", "tensorflow.keras")
        for name, instead in {
            "utils.np_utils": "utils",
            "utils.generic_utils": "utils",
            "utils.multi_gpu_model": "Model with tf.distribute",
            "layers.core": "layers",
            "layers.convolutional": "layers",
            "layers.pooling": "layers",
            "layers.recurrent": "layers",
            "layers.normalization": "layers",
            "layers.embeddings": "layers",
            "layers.merge": "layers",
            "layers.advanced_activations": "layers",
            "layers.CuDNNLSTM": "layers.LSTM",
            "layers.CuDNNGRU": "layers.GRU",
            "engine": "layers and tf.keras.models",
            "wrappers.scikit_learn": "wrappers, and the package scikeras",
            "objectives": "losses",
            "losses.Reduction": "losses: reduction takes a text",
        }.items()
    },
    **{
        f"keras.preprocessing.{name}": f"it left keras with Keras 3; see tf.keras.preprocessing.{name}"
        for name in ("image.ImageDataGenerator", "text", "sequence.TimeseriesGenerator")
    },
    "keras.ops": "it came with Keras 3 (TensorFlow 2.16)",
    "keras.random": "it came with Keras 3 (TensorFlow 2.16)",
    **{
        f"numpy.{name}": f"it left with numpy 1.24; see {name}"
        for name in ("float", "int", "object", "complex", "str")
    },
    "numpy.bool": "it left with numpy 1.24 and came back with 2.0; see bool",
    **{
        f"numpy.{name}": "it left with numpy 2.0"
        for name in ("float_", "unicode_", "Inf", "NaN", "infty", "product")
    },
}


def names_used(source: str) -> dict[str, tuple[int, bool]]:
    """The dotted names that a program takes from `ROOTS`, with their real beginning: ``tensorflow.keras.Model``.

    What stands under ``if`` or ``try`` is left out: the program may know that it can be missing.

    Returns:
        for each name its first line, and whether the program needs it as soon as it starts.
    """
    found: dict[str, tuple[int, bool]] = {}
    places = _places(source)
    bound = _bindings(places, found)
    inner: set[int] = set()
    for node, at_once in places:
        read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        name = _name(node, bound) if read and id(node) not in inner else None
        if name:
            inner.update(id(part) for part in ast.walk(node))
            line, before = found.get(name, (node.lineno, False))
            found[name] = line, before or at_once
    return found


def calls(source: str) -> Iterator[tuple[str, ast.Call, bool]]:
    """What a program calls of `ROOTS`: the dotted name, the call, and whether it is made when the program starts."""
    for name, call, at_once in all_calls(source):
        if name:
            yield name, call, at_once


def all_calls(source: str) -> Iterator[tuple[str, ast.Call, bool]]:
    """`calls`, and with an empty name all others of the program, such as those of methods."""
    places = _places(source)
    bound = _bindings(places, {})
    for node, at_once in places:
        if isinstance(node, ast.Call):
            yield _name(node.func, bound) or "", node, at_once


def unbound_calls(source: str) -> Iterator[tuple[str, int, bool]]:
    """The calls of `INTERACTIVE` functions that the program does not define: name, line, and whether at once."""
    places = _places(source)
    defined: set[str] = set()
    for node, _ in places:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            defined.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    for node, at_once in places:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            if name in INTERACTIVE and name not in defined:
                yield name, node.lineno, at_once


def history(name: str) -> str:
    """Since or until when there is such a name, in words; empty where that is not known."""
    known = [start for start in _HISTORY if f"{name}.".startswith(f"{start}.")]
    return _HISTORY[max(known, key=len)] if known else ""


def _places(source: str) -> list[tuple[ast.expr | ast.stmt, bool]]:
    tree = parse_source(source)
    return list(_unguarded(tree)) if tree else []


def _unguarded(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, bool]]:
    """Every expression and statement, outer ones first, and whether it is run when the program starts.

    A loop and no recursion: a sum of a thousand terms is a thousand levels deep.
    """
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, at_once = waiting.pop()
        guards = isinstance(node, ast.If) and not _asks_for_main(node)
        if guards or isinstance(node, ast.Try | ast.IfExp):
            continue
        if isinstance(node, ast.expr | ast.stmt):
            yield node, at_once
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_once = False
        waiting.extend((child, at_once) for child in reversed(list(ast.iter_child_nodes(node))))


def _asks_for_main(node: ast.If) -> bool:
    """``if __name__ == "__main__":``."""
    return any(getattr(part, "id", "") == "__name__" for part in ast.walk(node.test))


def _bindings(
    places: list[tuple[ast.expr | ast.stmt, bool]], found: dict[str, tuple[int, bool]]
) -> dict[str, str]:
    """What the program's own names stand for, but for those that it gives another meaning; its imports are found."""
    bound: dict[str, str] = {}
    other: set[str] = set()
    for node, at_once in places:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                if first in ROOTS:
                    bound[alias.asname or first] = alias.name if alias.asname else first
                    found.setdefault(alias.name, (node.lineno, at_once))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if node.module.partition(".")[0] not in ROOTS:
                    continue
                if alias.name == "*":
                    found.setdefault(node.module, (node.lineno, at_once))
                else:
                    bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                    found.setdefault(f"{node.module}.{alias.name}", (node.lineno, at_once))
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            other.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = node.args
            other.update(
                a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            )
    return {name: path for name, path in bound.items() if name not in other}


def _name(node: ast.AST, bound: dict[str, str]) -> str | None:
    """The real dotted name of ``a.b.c`` where it is read; None for anything else."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in bound:
        return None
    return ".".join([bound[node.id], *reversed(words)])
