"""What a Python program says of checkpoints and strategies: its text is read, never run."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1_000_000  # bytes of a program that is read
_SAVES = re.compile(
    r"(?<!gradient_)check_?point|ckpt|BackupAndRestore|resume|restore(?!_best)|snapshot",
    re.IGNORECASE,
)
_SAVE_CALLS = ("save", "save_weights", "save_model", "savez", "dump", "save_pretrained")
# Libraries whose training saves its state by itself
_SAVING = {"lightning", "pytorch_lightning", "transformers", "ultralytics", "mmengine", "deepspeed"}
_MOST_MODULES = 20


@dataclass(frozen=True)
class Code:
    """What is seen in a program and the modules beside it."""

    saves: bool  # it seems to keep its state while it trains
    mirrors: bool  # it makes a MirroredStrategy
    is_whole: bool  # all of it could be read


def read_code(path: Path) -> Code | None:
    """What is seen in a Python file and its neighbours that it imports; None if not readable."""
    first = _tree(path)
    if first is None:
        return None
    trees, waiting, names = [first], [first], {path.stem}
    is_whole = True
    while waiting and len(trees) < _MOST_MODULES:
        for name in _imported(waiting.pop()) - names:
            names.add(name)
            neighbour = path.parent / f"{name}.py"
            if not neighbour.is_file():
                is_whole = is_whole and not (path.parent / name).is_dir()
                continue
            tree = _tree(neighbour)
            is_whole = is_whole and tree is not None
            if tree is not None:
                trees.append(tree)
                waiting.append(tree)
    return _seen(trees, names, is_whole)


def read_text_code(text: str) -> Code | None:
    """What is seen in a program that stands in the script itself."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return _seen([tree], _imported(tree), True)


def _seen(trees: list[ast.Module], names: set[str], is_whole: bool) -> Code:
    nodes = [node for tree in trees for node in ast.walk(tree)]
    called = {_name(node) for node in nodes}
    saves = bool(names & _SAVING) or any(_SAVES.search(name) for name in called)
    return Code(
        saves=saves or any(_saves_in_loop(node) for node in nodes),
        mirrors="MirroredStrategy" in called,
        is_whole=is_whole,
    )


def _name(node: ast.AST) -> str:
    """A name, an attribute, a keyword, or a text that may name something."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.keyword | ast.arg):
        return node.arg or ""
    if isinstance(node, ast.alias):
        return node.name
    is_short = isinstance(node, ast.Constant) and isinstance(node.value, str)
    if is_short and len(node.value) < 60 and " " not in node.value:  # type: ignore[attr-defined]
        return str(node.value)  # type: ignore[attr-defined]
    return ""


def _saves_in_loop(node: ast.AST) -> bool:
    """Whether a loop, or a function that one may call, saves something: each epoch, say."""
    if not isinstance(node, ast.For | ast.While):
        return False
    return any(
        isinstance(inner, ast.Call)
        and (getattr(inner.func, "attr", "") or getattr(inner.func, "id", "")) in _SAVE_CALLS
        for inner in ast.walk(node)
    )


def _imported(tree: ast.Module) -> set[str]:
    """The first parts of the modules that are imported."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _tree(path: Path) -> ast.Module | None:
    try:
        if path.stat().st_size > LARGEST or not path.is_file():
            return None
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
