"""Copies what a queued job needs, so that a later edit or upgrade cannot touch it."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpcdl.errors import RunError, UserError
from hpcdl.files import close_to_others, copy_file, nobody_else_writes
from hpcdl.job import Job
from hpcdl.oserrors import failed_path, reason
from hpcdl.run.paths import code_folder, holds_runs
from hpcdl.usercode.clashes import clashes
from hpcdl.usercode.folders import copy_folder, python_files
from hpcdl.usercode.search_path import added_folders
from hpcdl.usercode.source import NOTEBOOK, parse_source, read_source

_PACKAGE = Path(__file__).resolve().parent.parent
SUPPORT = "hpcdl_support"  # the folder next to a frozen script that goes on its PYTHONPATH
RUN_NOTEBOOK = "run_notebook.py"  # the program in it that runs a notebook
_FOR_SCRIPTS = (
    "__init__.py",
    "trainer/__init__.py",
    "trainer/callback.py",
)  # what a script may import of hpcdl


def code_sha() -> str:
    """The sha256 (16 hex digits) of hpcdl's own Python files: names and bytes."""
    return _sha_of(_PACKAGE)


def _sha_of(package: Path) -> str:
    digest = hashlib.sha256()
    for name in _sources(package):
        digest.update(name.encode() + b"\0" + Path(package, name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def freeze_code(runs_root: Path, sha: str | None = None) -> Path:
    """Keep hpcdl's own code under ``<runs_root>/.code/<sha>/hpcdl``, once per version.

    Args:
        runs_root: the folder of all runs.
        sha: the code's, where the caller has asked for it already: some hundred files are read for it.

    Returns:
        The folder for PYTHONPATH.

    Raises:
        RunError: somebody installs another hpcdl just now.
    """
    folder = code_folder(runs_root, sha or code_sha())
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
        try:
            with nobody_else_writes():
                copy_code(aside / "hpcdl")
            if _sha_of(aside / "hpcdl") != folder.name:
                raise RunError("hpcdl itself is being changed: submit again when it is installed")
            aside.chmod(0o755)
            close_to_others(aside)
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another submission was faster, with the same bytes
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _sources(package: Path) -> list[str]:
    """The names of hpcdl's Python files, from its folder on, in an order that is the same everywhere."""
    names = []
    for folder, folders, files in os.walk(package):
        # _data is a wheel's: its jobs' scripts are no code of hpcdl's
        folders[:] = [name for name in folders if name not in ("_data", "__pycache__")]
        place = os.path.relpath(folder, package)
        names += [os.path.normpath(f"{place}/{name}") for name in files if name.endswith(".py")]
    return sorted(names)


def copy_code(target: Path) -> None:
    """Copy hpcdl's Python files to a folder."""
    for name in _sources(_PACKAGE):
        _copy(_PACKAGE / name, target / name)


def freeze_user_files(job: Job, target: Path) -> None:
    """Copy a job's script or function, what it imports from beside it, and its ``files``.

    Raises:
        UserError: a file cannot be read, a notebook cannot be run, two files would have one name,
            or a folder would be copied into itself.
    """
    if job.script is not None and job.script.endswith(NOTEBOOK):
        from hpcdl.usercode import notebook

        notebook.refuse_problems(Path(job.script))
    files = user_files(job)
    for clash in clashes(files):
        raise UserError(f"{clash}; rename one, or move it into a folder of its own")
    for source, name in files.items():
        _refuse_runs(source, target)
        try:
            if source.is_dir():
                copy_folder(source, target / name, target)
            elif source.exists() and not source.is_file():
                raise UserError(
                    f"cannot copy {source}: it is a pipe, a socket or a device, not a file"
                )
            else:
                _copy(source, target / name)
        except OSError as error:
            if str(target) in (failed_path(error) or reason(error)):
                raise  # not the user's file, but the place it is copied to
            raise UserError(f"cannot copy {source}: {reason(error)}") from error


def _refuse_runs(source: Path, target: Path) -> None:
    """A folder of runs, or one in it, cannot be copied into one of its own runs."""
    folder = source.resolve()
    if not target.resolve().is_relative_to(folder):
        return
    if any(holds_runs(above) for above in (folder, *folder.parents)):
        raise UserError(
            f"cannot copy {source}, which is a folder of runs: the copy would be in itself; "
            "name the files that the job reads, or choose another folder for the runs"
        )


def freeze_support(target: Path) -> None:
    """Copy what hpcdl puts next to a script, under the name that programs import it by: `hpcdl.trainer.support`."""
    for path in sorted((_PACKAGE / "trainer" / "support").glob("*.py")):
        starts = path.name == RUN_NOTEBOOK
        _copy(path, target / SUPPORT / ("" if starts else "hpcdl_support") / path.name)


def user_files(job: Job) -> dict[Path, str]:
    """The files and folders to freeze: where each is, and its name in the run."""
    folder = Path(job.folder)
    found: dict[Path, str] = {}
    if job.script is not None:
        script = Path(job.script)
        found[script] = script.name
        if script.suffix == NOTEBOOK:
            found.update(_of_notebook(script))
        else:
            found.update(_imported(_read(script), script.parent, {script}))
    for function in job.functions.values():
        found.update(_imported(f"import {function.partition(':')[0]}", folder, set()))
    for text in job.files:
        path = Path(text)
        found[path] = str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
    return found


def _of_notebook(script: Path) -> dict[Path, str]:
    """What a notebook and those that it runs take from beside them."""
    from hpcdl.usercode import notebook

    found: dict[Path, str] = {}
    for one in notebook.with_those_it_runs(script):
        found.update(_imported(notebook.script_of(one.path), one.path.parent, {script}))
        for path in one.runs:
            beside = path.is_relative_to(script.parent)
            found[path] = str(path.relative_to(script.parent)) if beside else path.name
            if path.suffix != NOTEBOOK:
                found.update(_imported(_read(path), path.parent, {script}))
    return found


def _imported(source: str, folder: Path, seen: set[Path]) -> dict[Path, str]:
    """The modules and packages beside a script that it imports, and those they import.

    So are those in the folders below it that a program puts on ``sys.path``.
    """
    found: dict[Path, str] = {}
    waiting, places = [source], [folder]
    while waiting:
        source = waiting.pop()
        places += [place for place in _search_path(source, folder) if place not in places]
        names = _import_names(source)
        takes_hpcdl = "callback" in source and "hpcdl" in map(_top, names)
        if takes_hpcdl and not (folder / "hpcdl").exists():
            found.update({_PACKAGE / name: f"hpcdl/{name}" for name in _FOR_SCRIPTS})
        for path in [path for place in places for path in _beside(names, place)]:
            if path in seen:
                continue
            seen.add(path)
            found[path] = str(path.relative_to(folder))
            waiting += [_read(inner) for inner in _python_of(path)]
    return found


def _search_path(source: str, folder: Path) -> list[Path]:
    """The folders below a script's own that a program puts on ``sys.path``."""
    places = [Path(os.path.normpath(folder / text)) for text in added_folders(source)]
    return [
        place
        for place in places
        if place != folder and place.is_relative_to(folder) and place.is_dir()
    ]


def _beside(names: set[str], folder: Path) -> Iterator[Path]:
    """The modules and packages in a folder that some imports mean; compiled ones, too."""
    there = _entries(folder)  # once, not for each name: a shared file system answers slowly
    for name in sorted(names):
        top = _top(name)
        if f"{top}.py" in there and (folder / f"{top}.py").is_file():
            yield folder / f"{top}.py"
        yield from _compiled(folder, top, there)
        if top in there and _is_package(folder / top, name):
            yield folder / top


def _entries(folder: Path) -> list[str]:
    """The names in a folder; none where it is no folder, or may not be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _compiled(folder: Path, name: str, there: list[str]) -> list[Path]:
    """A module's compiled files among those there, such as ``fast.cpython-311-x86_64-linux-gnu.so``."""
    return [folder / file for file in there if file.startswith(f"{name}.") and file.endswith(".so")]


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
    """What a program imports: ``a.b`` for ``import a.b``, and ``a.b.c`` for ``from a.b import c``."""
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
    """The module that a text names, or the package that it begins with, as in ``f"models.{name}"``."""
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


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)
