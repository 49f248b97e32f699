"""What a job's programs import, where, and whether they need it to begin."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from hpcdl.preflight.api_names import ROOTS
from hpcdl.usercode.source import parse_source

# Parts that left their packages, and modules that only a service has, with what to do instead.
# Sources: https://scikit-learn.org/stable/whats_new/v0.23.html and v0.20.html,
# https://pypi.org/project/google-colab (only for Colab's own machines)
_OUT = "take it out, or put it under try"
_COLAB = f"only Colab has it: {_OUT}; hpcdl data stage and files: bring data"
_KAGGLE = f"only Kaggle has it: {_OUT}; hpcdl data stage brings data"
REMEDIES = {
    "google.colab": _COLAB,
    "kaggle_secrets": _KAGGLE,
    "kaggle_datasets": _KAGGLE,
    "kaggle_web_client": _KAGGLE,
    "sklearn.externals": "it left scikit-learn with 0.23: import joblib or six itself",
    "sklearn.cross_validation": "it left scikit-learn with 0.20: see sklearn.model_selection",
    "sklearn.grid_search": "it left scikit-learn with 0.20: see sklearn.model_selection",
    "sklearn.datasets.samples_generator": "it left scikit-learn with 0.24: see sklearn.datasets",
    "distutils": "it left Python with 3.12: setuptools has it",
    "imp": "it left Python with 3.12: see importlib",
}


@dataclass(frozen=True)
class Import:
    """An import.

    Args:
        name: the module, with its dots; ``google:colab`` for ``from google import colab``, where
            colab may be a module or a name in google.
        file: the program.
        line: its line there, from 1.
        needed: whether the program cannot start without it. If not, it may be imported later.
    """

    name: str
    file: str
    line: int
    needed: bool

    @property
    def top(self) -> str:
        """The package that it is in."""
        return self.name.partition(":")[0].partition(".")[0]

    @property
    def dotted(self) -> str:
        """The module's whole name."""
        return self.name.replace(":", ".")


def imports_of(sources: dict[str, str]) -> list[Import]:
    """The imports of some programs.

    Relative ones, those of hpcdl, and those under ``try`` or ``if`` are left out.
    """
    imports = []
    for file, source in sources.items():
        tree = parse_source(source)
        if tree is None:
            continue
        changes_path = "sys.path" in source
        at_once = {id(node) for node in tree.body}
        guarded = set(_guarded(tree))
        for node in ast.walk(tree):
            if id(node) in guarded:
                continue
            needed = id(node) in at_once and not changes_path
            for name in _names(node):
                imported = Import(name, file, getattr(node, "lineno", 1), needed)
                if imported.top != "hpcdl":
                    imports.append(imported)
    return imports


def remedy(name: str) -> str | None:
    """What to do about a module that no image has; None if it is not such a module."""
    for module, text in REMEDIES.items():
        if f"{name}.".startswith(f"{module}."):
            return text
    return None


def _guarded(tree: ast.AST) -> Iterator[int]:
    """The ids of the nodes under ``try`` or ``if``."""
    for block in ast.walk(tree):
        if isinstance(block, ast.Try | ast.If):
            for node in ast.walk(block):
                yield id(node)


def _names(node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports; for `ROOTS` the package, whose names are looked for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield _shortened(alias.name)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield _shortened(node.module)
        if node.module.partition(".")[0] not in ROOTS:
            for alias in node.names:
                if alias.name != "*":
                    yield f"{node.module}:{alias.name}"


def _shortened(module: str) -> str:
    first = module.partition(".")[0]
    return first if first in ROOTS else module
