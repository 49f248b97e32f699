"""Answers what an image's Python has: versions, modules, names, and whether programs compile.

It imports TensorFlow, Keras and numpy only if the question is about their versions or names.
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
_MOST_NODES = 4000  # of the tree of public names
# Packages that are not public
_PRIVATE = (
    "tensorflow.python",
    "tensorflow.core",
    "tensorflow.compiler",
    "keras.src",
    "tf_keras.src",
    "numpy._",
)
_INNER = (*ROOTS, "tf_keras")
_LONG = ".raw_ops"  # more than a thousand names that programs do not use directly


def versions() -> dict[str, Any]:
    """The versions of the image's Python, of each of `ROOTS`, and of `TF_KERAS`.

    Returns:
        "python" and "architecture" as texts. For each package [version, file], ["", why importing
        it fails], or None if it is not installed.
    """
    answer: dict[str, Any] = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
    }
    for name in ROOTS:
        try:
            module = __import__(name)
            version = getattr(module, "__version__", "?")
            answer[name] = [version, getattr(module, "__file__", None) or ""]
        except ImportError as error:
            is_absent = getattr(error, "name", None) == name
            answer[name] = None if is_absent else ["", str(error)]
        except Exception as error:
            answer[name] = ["", f"{type(error).__name__}: {error}"]
    answer[TF_KERAS] = _keras_of_tensorflow(answer["keras"])
    return answer


def _keras_of_tensorflow(package: Any) -> Any:
    """The same for ``tensorflow.keras``. With TF_USE_LEGACY_KERAS=1 it is the package tf_keras.

    Args:
        package: the answer for the package keras.
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
    """Why a program does not compile; "" if it does."""
    # A cell of a notebook may have `await` at its top level.
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
            continue  # it does not exist, or is a zip file
        for entry in entries:
            name = entry.partition(".")[0]
            path = os.path.join(folder, entry)
            is_file = entry.endswith((".py", *importlib.machinery.EXTENSION_SUFFIXES))
            if name.isidentifier() and (is_file or (entry == name and _is_package(path))):
                names.add(name)
    return sorted(names)


def _is_package(path: str) -> bool:
    """Whether a folder has Python files, or packages inside."""
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
        name: ``google.colab``; or ``google:colab`` for ``from google import colab``. If google has
            code, colab may be a name in that code, so it counts as there.
    """
    package, colon, _ = name.partition(":")
    if colon and (_is_missing(package) or not _is_namespace(package)):
        return False
    return _is_missing(name.replace(":", "."))


def _is_missing(name: str) -> bool:
    # A package may have its own finder, which fails here. Then the module is imported.
    with contextlib.suppress(Exception):
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
        return False  # it exists, but fails
    return False


def _by_files(name: str) -> bool:
    """Whether a module's file exists. Its parent packages are not imported."""
    first, *others = name.split(".")
    spec = importlib.util.find_spec(first)
    path = first
    for word in others:
        if spec is None or spec.submodule_search_locations is None:
            return False
        path = f"{path}.{word}"
        folders = list(spec.submodule_search_locations)
        spec = importlib.machinery.PathFinder.find_spec(path, folders)
    return spec is not None


def _is_namespace(name: str) -> bool:
    """Whether a package has no code. Then only modules can be imported from it."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        return False
    if spec is None or spec.submodule_search_locations is None:
        return False
    return not spec.has_location


def first_absent(name: str) -> str:
    """The first part of a dotted name that does not exist; "" if all parts exist.

    It is "" also if the first module itself is absent: `is_missing` tells that.
    """
    words = name.split(".")
    value: Any = None
    for end in range(1, len(words) + 1):
        part = ".".join(words[:end])
        try:
            value = getattr(value, words[end - 1]) if value else __import__(words[0])
        except Exception:
            try:
                value = importlib.import_module(part)  # a module that its package does not import
            except Exception:
                return part if end > 1 else ""
    return ""


class Tree:
    """All public names of some packages, as a tree in a list.

    A node stands for a module or class. It maps each name in it to the index of that name's node,
    or to -1 if the name is neither module nor class. ``nodes[0]`` maps the packages' names.
    """

    def __init__(self) -> None:
        self.nodes: list[dict[str, int]] = [{}]
        self._numbers: dict[int, int] = {}  # index of a node by the id of its module or class
        self._modules: list[Any] = []  # keeps them alive, so that no id is used twice

    def add(self, name: str) -> None:
        """Add a package that is imported."""
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
        self._modules.append(thing)
        node: dict[str, int] = {}
        self.nodes.append(node)
        for name in self._names(thing):
            with contextlib.suppress(Exception):  # a name that cannot be read does not count
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


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The answer to a question.

    Args:
        question: ``versions``: whether to answer with all versions, modules and public names;
            ``programs``: [file name, text] of programs to compile, by a key; ``modules`` and
            ``names`` to look for.
    """
    answers: dict[str, Any] = {}
    if question["versions"]:
        answers["tops"] = top_modules()
        answers.update(versions())
        tree = Tree()
        for name in ROOTS:
            tree.add(name)
        answers["tree"] = tree.nodes
    programs = question["programs"].items()
    answers["programs"] = {key: why_broken(*program) for key, program in programs}
    answers["modules"] = {name: is_missing(name) for name in question["modules"]}
    answers["names"] = {name: first_absent(name) for name in question["names"]}
    return answers


if __name__ == "__main__":
    text = json.dumps(answer(json.load(sys.stdin)), separators=(",", ":"))
    sys.stdout.write(f"\nhpcdl: {text}\n")  # an import may have written half a line
