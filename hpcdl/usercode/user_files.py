"""Which of the user's files a job needs: its script or function, and what these import."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.job import Job
from hpcdl.oserrors import failed_path, reason
from hpcdl.usercode.folders import python_files
from hpcdl.usercode.search_path import added_folders
from hpcdl.usercode.source import NOTEBOOK, parse_source, read_source

_PACKAGE = Path(__file__).resolve().parent.parent
# What a script may import of hpcdl
_FOR_SCRIPTS = (
    "__init__.py",
    "contract/__init__.py",
    "contract/version.py",
    "trainer/__init__.py",
    "trainer/callback.py",
)


def user_files(job: Job) -> dict[Path, str]:
    """The files and folders to freeze: where each is, and its name in the run.

    Raises:
        UserError: one that is read for its imports cannot be read.
    """
    folder = Path(job.folder)
    files: dict[Path, str] = {}
    if job.script is not None:
        script = Path(job.script)
        files[script] = script.name
        if script.suffix == NOTEBOOK:
            files.update(_of_notebook(script))
        else:
            files.update(_imported(_read(script), script.parent, {script}))
    for function in job.functions.values():
        files.update(_imported(f"import {function.partition(':')[0]}", folder, set()))
    for text in job.files:
        path = Path(text)
        files[path] = _name_below(folder, path)
    return files


def _name_below(folder: Path, path: Path) -> str:
    """A file's name in the run: from a folder on, if it lies in that."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _of_notebook(script: Path) -> dict[Path, str]:
    """What a notebook, and the notebooks that it runs, take from next to them."""
    from hpcdl.usercode import notebook

    files: dict[Path, str] = {}
    for each in notebook.with_those_it_runs(script):
        files.update(_imported(notebook.script_of(each.path), each.path.parent, {script}))
        for path in each.runs:
            files[path] = _name_below(script.parent, path)
            if path.suffix != NOTEBOOK:
                files.update(_imported(_read(path), path.parent, {script}))
    return files


def _imported(source: str, folder: Path, seen: set[Path]) -> dict[Path, str]:
    """The modules and packages next to a script that it imports, and those that they import.

    So are those in the folders below it that a program puts on ``sys.path``.

    Args:
        source: the script's text.
        folder: where it lies.
        seen: files that are not looked at again; more are added.
    """
    files: dict[Path, str] = {}
    waiting, places = [source], [folder]
    while waiting:
        source = waiting.pop()
        for place in _search_path(source, folder):
            if place not in places:
                places.append(place)
        names = _import_names(source)
        takes_hpcdl = "callback" in source and "hpcdl" in map(_top, names)
        if takes_hpcdl and not (folder / "hpcdl").exists():
            for name in _FOR_SCRIPTS:
                files[_PACKAGE / name] = f"hpcdl/{name}"
        paths = [path for place in places for path in _next_to(names, place)]
        for path in paths:
            if path in seen:
                continue
            seen.add(path)
            files[path] = str(path.relative_to(folder))
            waiting += [_read(inner) for inner in _python_of(path)]
    return files


def _search_path(source: str, folder: Path) -> list[Path]:
    """The folders below a script's own that a program puts on ``sys.path``."""
    places = []
    for text in added_folders(source):
        place = Path(os.path.normpath(folder / text))
        if place != folder and place.is_relative_to(folder) and place.is_dir():
            places.append(place)
    return places


def _next_to(names: set[str], folder: Path) -> Iterator[Path]:
    """The modules and packages in a folder that some imports mean, compiled ones too."""
    entries = _entries(folder)  # once, not for each name: a shared file system answers slowly
    for name in sorted(names):
        top = _top(name)
        if f"{top}.py" in entries and (folder / f"{top}.py").is_file():
            yield folder / f"{top}.py"
        yield from _compiled(folder, top, entries)
        if top in entries and _is_package(folder / top, name):
            yield folder / top


def _entries(folder: Path) -> list[str]:
    """The names in a folder; none if it is not a folder, or cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _compiled(folder: Path, name: str, entries: list[str]) -> list[Path]:
    """A module's compiled files in a folder, such as ``fast.cpython-311-x86_64-linux-gnu.so``."""
    files = []
    for entry in entries:
        if entry.startswith(f"{name}.") and entry.endswith(".so"):
            files.append(folder / entry)
    return files


def _is_package(folder: Path, name: str) -> bool:
    """Whether an import means a folder: it has modules, or those of the import's name lie deeper.

    Without the second a folder of data or logs would be taken for the package of that name, such
    as ``wandb``, which the image has.
    """
    if any(folder.glob("*.py")):
        return True
    inner = folder
    for word in name.split(".")[1:]:
        if (inner / f"{word}.py").is_file() or _compiled(inner, word, _entries(inner)):
            return True
        inner = inner / word
        if (inner / "__init__.py").is_file():
            return True
    return inner != folder and any(inner.glob("*.py"))


def _python_of(path: Path) -> list[Path]:
    """The Python files of a module or package."""
    if path.suffix == ".so":
        return []
    if path.is_file():
        return [path]
    try:
        return python_files(path)
    except OSError as error:
        raise UserError(f"cannot read {failed_path(error) or path}: {reason(error)}") from error


def _top(name: str) -> str:
    return name.partition(".")[0]


def _import_names(source: str) -> set[str]:
    """What a program imports: ``a.b`` of ``import a.b``, ``a.b.c`` of ``from a.b import c``."""
    tree = parse_source(source)
    if tree is None:
        return set()  # preflight and the run itself report it
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _imports_by_text(node.func) and node.args:
            names |= _module_in(node.args[0])
    return names


def _imports_by_text(function: ast.expr) -> bool:
    """``importlib.import_module``, ``import_module`` and ``__import__``."""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _module_in(text: ast.expr) -> set[str]:
    """The module that a text names, or the package that it begins with: ``f"models.{name}"``."""
    if isinstance(text, ast.JoinedStr) and text.values:
        text = text.values[0]
    elif isinstance(text, ast.BinOp):
        text = text.left
    if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
        return set()
    name = text.value.rstrip(".")
    return {name} if all(word.isidentifier() for word in name.split(".")) else set()


def _read(path: Path) -> str:
    try:
        return read_source(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
