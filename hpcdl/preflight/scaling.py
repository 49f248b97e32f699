"""Finds model functions that scale images, although they get images in [0, 1]."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.sources import sources_of
from hpcdl.usercode.source import parse_source

_WHITE = 255.0
_DIVISORS = (127.0, 127.5, 128.0, 255.0, 256.0)
# Networks of keras.applications that begin with a Rescaling or a Normalization layer
_SCALES_ITSELF = ("EfficientNet", "ConvNeXt", "RegNet", "ResNetRS", "MobileNetV3")
_FIX = "take it out, or let the model begin with tf.keras.layers.Rescaling(255.0)"


def scaling(subject: Subject) -> Iterator[Finding]:
    """The model's function, and what it uses from its module, do not scale images."""
    reference = str(getattr(subject.job.model, "function", ""))
    module, _, function = reference.partition(":")
    file = f"{module.replace('.', '/')}.py"
    source = sources_of(subject).get(file)
    if source is None:
        return
    for line, what in scaled_lines(source, function):
        cause = f"{file}:{line}: {what} scales images that hpcdl has scaled to [0, 1] already"
        yield Finding(cause, _FIX, "job", "model.function", blocks=False)


def scaled_lines(source: str, function: str) -> list[tuple[int, str]]:
    """The lines that scale images from 0..255, in a function and in what it uses from its module.

    A function that first makes 0..255 again, with Rescaling(255), may scale them as it likes.
    """
    tree = parse_source(source)
    if tree is None:
        return []
    lines: list[tuple[int, str]] = []
    for part in _used(tree, function):
        for node in ast.walk(part):
            if _brings_back(node):
                return []
            what = _scales(node)
            if what:
                lines.append((getattr(node, "lineno", 0), what))
    return sorted(set(lines))


def _used(tree: ast.Module, function: str) -> list[ast.AST]:
    """The definition of a name in a module, and those definitions that it uses, each once."""
    definitions: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            definitions[node.targets[0].id] = node.value
    used: dict[str, ast.AST] = {}
    waiting = [function]
    while waiting:
        name = waiting.pop()
        if name in used or name not in definitions:
            continue
        used[name] = definitions[name]
        for inner in ast.walk(definitions[name]):
            if isinstance(inner, ast.Name):
                waiting.append(inner.id)
    return list(used.values())


def _scales(node: ast.AST) -> str:
    """What scales images in a node; "" if nothing does."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        divisor = _number(node.right)
        if divisor in _DIVISORS and _number(node.left) is None:
            return f"a division by {divisor:g}"
    if not isinstance(node, ast.Call):
        return ""
    name = _name(node.func)
    if name == "Rescaling":
        scale = _scale(node)
        if scale and 0 < scale <= 1 / _DIVISORS[0]:
            return "this Rescaling"
    if name == "preprocess_input":
        return "preprocess_input"
    if name.startswith(_SCALES_ITSELF) and not _has_no_preprocessing(node):
        return f"{name}, in its first layers,"
    return ""


def _brings_back(node: ast.AST) -> bool:
    """Whether a node makes 0..255 of 0..1."""
    if isinstance(node, ast.Call) and _name(node.func) == "Rescaling":
        return (_scale(node) or 0) >= _DIVISORS[0]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _WHITE in (_number(node.left), _number(node.right))
    return False


def _has_no_preprocessing(call: ast.Call) -> bool:
    for keyword in call.keywords:
        if keyword.arg == "include_preprocessing" and isinstance(keyword.value, ast.Constant):
            return keyword.value.value is False
    return False


def _scale(call: ast.Call) -> float | None:
    for keyword in call.keywords:
        if keyword.arg == "scale":
            return _number(keyword.value)
    return _number(call.args[0]) if call.args else None


def _number(node: ast.AST) -> float | None:
    """The value of a number, or of a division of two."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        above, below = _number(node.left), _number(node.right)
        if above is not None and below:
            return above / below
    return None


def _name(node: ast.AST) -> str:
    """The last part of a dotted name."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
