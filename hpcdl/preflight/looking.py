"""Looks around in an image's Python: run there as ``python -c``, a question on stdin, an answer on stdout.

Python 3.8 and the standard library; it imports TensorFlow, Keras and numpy if it is asked for
their versions or names.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import platform
import sys
import warnings
from types import ModuleType
from typing import Any

ROOTS = ("tensorflow", "keras", "numpy")
TF_KERAS = "tensorflow.keras"  # the Keras that TensorFlow uses: the package keras, or tf_keras
_MOST_NODES = 4000
# Not public, or a thousand names that nobody takes by name
_PRIVATE = (
    "tensorflow.python",
    "tensorflow.core",
    "tensorflow.compiler",
    "keras.src",
    "tf_keras.src",
    "numpy._",
)
_INNER = (*ROOTS, "tf_keras")
_LONG = ".raw_ops"


def versions() -> dict[str, Any]:
    """The image's Python, and of each root and `TF_KERAS` (version, file), ("", why not) or None."""
    told: dict[str, Any] = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
    }
    for name in ROOTS:
        try:
            module = __import__(name)
            version = getattr(module, "__version__", "?")
            told[name] = [version, getattr(module, "__file__", None) or ""]
        except ImportError as error:
            told[name] = None if getattr(error, "name", None) == name else ["", str(error)]
        except Exception as error:
            told[name] = ["", f"{type(error).__name__}: {error}"]
    told[TF_KERAS] = _keras_of_tensorflow(told["keras"])
    return told


def _keras_of_tensorflow(package: Any) -> Any:
    """What ``tensorflow.keras`` is, which TF_USE_LEGACY_KERAS=1 makes the package tf_keras.

    Args:
        package: what the package keras is.
    """
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is None:
        return None
    try:
        keras = tensorflow.keras
        name = keras.Model.__module__.partition(".")[0]
        if name not in ("keras", "tf_keras"):
            return package
        module = __import__(name)
        version = getattr(keras, "__version__", None) or module.__version__
        return [str(version), module.__file__]
    except ImportError as error:
        return ["", str(error)]
    except Exception:
        return package


def why_broken(name: str, source: str) -> str:
    """Why a program does not compile, or nothing; a notebook's cell may wait at its top level."""
    flags = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0) if ".ipynb" in name else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, name, "exec", flags, True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", "?")
            return "line {}: {}".format(line, getattr(error, "msg", error))
        except (RecursionError, MemoryError):
            return "line ?: an expression is nested too deeply"
    return ""


def top_modules() -> list[str]:
    """The names of all modules and packages that can be imported."""
    names = set(sys.builtin_module_names) | set(getattr(sys, "stdlib_module_names", ()))
    for folder in sys.path:
        try:
            entries = os.listdir(folder or ".")
        except OSError:
            continue  # not there, or a zip file
        for entry in entries:
            name = entry.partition(".")[0]
            path = os.path.join(folder, entry)
            is_file = entry.endswith((".py", *importlib.machinery.EXTENSION_SUFFIXES))
            if name.isidentifier() and (is_file or (entry == name and _is_package(path))):
                names.add(name)
    return sorted(names)


def _is_package(path: str) -> bool:
    """Whether a folder has Python files, or folders with some."""
    try:
        entries = os.listdir(path)
    except OSError:
        return False
    suffixes = (".py", *importlib.machinery.EXTENSION_SUFFIXES)
    if any(entry.endswith(suffixes) for entry in entries):
        return True
    return any(os.path.isfile(os.path.join(path, entry, "__init__.py")) for entry in entries)


def is_missing(name: str) -> bool:
    """Whether a module cannot be imported.

    Args:
        name: ``google.colab``; or ``google:colab`` for ``from google import colab``, which may be a
            name of google's own where that has code.
    """
    package, colon, _ = name.partition(":")
    if colon and (_is_missing(package) or not _is_namespace(package)):
        return False
    return _is_missing(name.replace(":", "."))


def _is_missing(name: str) -> bool:
    with contextlib.suppress(Exception):  # a package's own finder is asked by importing it
        if _by_files(name):
            return False
    if name in sys.modules:
        return False
    if "." not in name and importlib.util.find_spec(name) is None:
        return True
    try:
        importlib.import_module(name)
    except ImportError:
        return True
    except Exception:
        return False  # it is there, and fails
    return False


def _by_files(name: str) -> bool:
    """Whether a module's file is there; its parents are not imported to see that."""
    first, *others = name.split(".")
    spec = importlib.util.find_spec(first)
    path = first
    for word in others:
        if spec is None or spec.submodule_search_locations is None:
            return False
        path = f"{path}.{word}"
        places = list(spec.submodule_search_locations)
        spec = importlib.machinery.PathFinder.find_spec(path, places)
    return spec is not None


def _is_namespace(name: str) -> bool:
    """Whether a package has no code of its own: only modules can be imported from it."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        return False
    if spec is None or spec.submodule_search_locations is None:
        return False
    return not spec.has_location


def lacking(name: str) -> str:
    """The first part of a dotted name that is not there, or nothing."""
    words, found = name.split("."), None
    for end in range(1, len(words) + 1):
        try:
            found = getattr(found, words[end - 1]) if found else __import__(words[0])
        except Exception:
            try:
                found = importlib.import_module(".".join(words[:end]))
            except Exception:
                return ".".join(words[:end]) if end > 1 else ""
    return ""


class Tree:
    """All public names of the roots: ``nodes[0]`` leads from each root's name to its node.

    A node is a module or class; it leads from each name in it to that name's node, or to -1.
    """

    def __init__(self) -> None:
        self.nodes: list[dict[str, int]] = [{}]
        self._numbers: dict[int, int] = {}
        self._keep: list[Any] = []

    def add(self, name: str) -> None:
        """Add one root."""
        module = sys.modules.get(name)
        if module is not None:
            self.nodes[0][name] = self._node(module)

    def _node(self, thing: Any) -> int:
        if not self._is_inner(thing) or len(self.nodes) >= _MOST_NODES:
            return -1
        number = self._numbers.get(id(thing))
        if number is not None:
            return number
        number = self._numbers[id(thing)] = len(self.nodes)
        self._keep.append(thing)
        node: dict[str, int] = {}
        self.nodes.append(node)
        for name in self._names(thing):
            with contextlib.suppress(Exception):  # what cannot be had is not there
                child = getattr(thing, name)
                node[name] = self._node(child) if isinstance(thing, ModuleType) else -1
        return number

    def _names(self, thing: Any) -> set[str]:
        try:
            names = set(dir(thing))
        except Exception:
            return set()
        if not isinstance(thing, ModuleType):
            names -= set(dir(object))
        return {name for name in names if not name.startswith("_")}

    def _is_inner(self, thing: Any) -> bool:
        if isinstance(thing, ModuleType):
            name = getattr(thing, "__name__", "")
        elif isinstance(thing, type):
            name = thing.__module__
            return name.startswith(_INNER)
        else:
            return False
        return name.startswith(_INNER) and not name.startswith(_PRIVATE) and _LONG not in name


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """What is asked for: versions with all modules and names, programs, modules, names."""
    told: dict[str, Any] = {}
    if asked["versions"]:
        told["tops"] = top_modules()
        told.update(versions())
        tree = Tree()
        for name in ROOTS:
            tree.add(name)
        told["tree"] = tree.nodes
    told["programs"] = {key: why_broken(*program) for key, program in asked["programs"].items()}
    told["modules"] = {name: is_missing(name) for name in asked["modules"]}
    told["names"] = {name: lacking(name) for name in asked["names"]}
    return told


if __name__ == "__main__":
    told = answer(json.load(sys.stdin))
    sys.stdout.write("\nhpcdl:{}\n".format(json.dumps(told, separators=(",", ":"))))
