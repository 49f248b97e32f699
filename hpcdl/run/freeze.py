"""Copies what a queued job needs, so that a later edit or upgrade cannot touch it."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.files import close_to_others, copy_file, nobody_else_writes, python_source
from hpcdl.job import Job
from hpcdl.oserrors import failed_path, reason
from hpcdl.run import notebook
from hpcdl.run.paths import code_folder

_PACKAGE = Path(__file__).resolve().parent.parent
_NO_FILES = shutil.ignore_patterns("__pycache__", ".git", ".#*")  # Emacs locks files by .# links to nowhere
SUPPORT = "hpcdl_support"  # the folder next to a frozen script that goes on its PYTHONPATH
RUN_NOTEBOOK = "run_notebook.py"  # the program in it that runs a notebook
_FOR_SCRIPTS = ("__init__.py", "trainer/__init__.py", "trainer/callback.py")  # what a script may import of hpcdl


def code_sha() -> str:
    """The sha256 (16 hex digits) of hpcdl's own Python files: names and bytes."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(str(path.relative_to(_PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def freeze_code(runs_root: Path) -> Path:
    """Keep hpcdl's own code under ``<runs_root>/.code/<sha>/hpcdl``, once per version.

    Returns:
        The folder for PYTHONPATH.
    """
    folder = code_folder(runs_root, code_sha())
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
        try:
            with nobody_else_writes():
                copy_code(aside / "hpcdl")
            aside.chmod(0o755)
            close_to_others(aside)
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another submission was faster, with the same bytes
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _sources() -> list[Path]:
    shipped = _PACKAGE / "_data"  # of a wheel: its jobs' scripts are no code of hpcdl's
    return sorted(path for path in _PACKAGE.rglob("*.py") if not path.is_relative_to(shipped))


def copy_code(target: Path) -> None:
    """Copy hpcdl's Python files to a folder."""
    for path in _sources():
        _copy(path, target / path.relative_to(_PACKAGE))


def freeze_user_files(job: Job, target: Path) -> None:
    """Copy a job's script or function, what it imports from beside it, and its ``files``.

    Raises:
        UserError: a file cannot be read, or a notebook cannot be run.
    """
    if job.script is not None and job.script.endswith(notebook.SUFFIX):
        notebook.refuse_problems(Path(job.script))
    for source, name in user_files(job).items():
        try:
            if source.is_dir():
                shutil.copytree(
                    source, target / name, ignore=_not_copied, copy_function=_copy_with_mode,
                    dirs_exist_ok=True,
                )  # fmt: skip
            else:
                _copy(source, target / name)
        except OSError as error:
            if str(target) in (failed_path(error) or reason(error)):
                raise  # not the user's file, but the place it is copied to
            raise UserError(f"cannot copy {source}: {reason(error)}") from error


def _not_copied(folder: str, names: list[str]) -> set[str]:
    """What of a folder is not copied: also links to a folder that they lie in, which have no end."""
    here = Path(os.path.realpath(folder))
    left_out = set(_NO_FILES(folder, names))
    for name in names:
        path = os.path.join(folder, name)
        if os.path.islink(path) and here.is_relative_to(os.path.realpath(path)):
            left_out.add(name)
    return left_out


def python_files(folder: Path) -> list[Path]:
    """The Python files below a folder, without links to nowhere."""
    return [path for path in sorted(folder.rglob("*.py")) if path.is_file()]


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
        if script.suffix == notebook.SUFFIX:
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
    found: dict[Path, str] = {}
    for one in notebook.with_those_it_runs(script):
        found.update(_imported(notebook.script_of(one.path), one.path.parent, {script}))
        for path in one.runs:
            beside = path.is_relative_to(script.parent)
            found[path] = str(path.relative_to(script.parent)) if beside else path.name
            if path.suffix != notebook.SUFFIX:
                found.update(_imported(_read(path), path.parent, {script}))
    return found


def _imported(source: str, folder: Path, seen: set[Path]) -> dict[Path, str]:
    """The modules and packages beside a script that it imports, and those they import."""
    found: dict[Path, str] = {}
    names = _import_names(source)
    if "hpcdl" in names and "callback" in source and not (folder / "hpcdl").exists():
        found.update({_PACKAGE / name: f"hpcdl/{name}" for name in _FOR_SCRIPTS})
    for name in sorted(names):
        for path in (folder / f"{name}.py", folder / name):
            if path in seen or not (path.is_file() or any(path.glob("*.py"))):
                continue
            seen.add(path)
            found[path] = path.name
            sources = [path] if path.is_file() else python_files(path)
            for inner in sources:
                found.update(_imported(_read(inner), folder, seen))
    return found


def _import_names(source: str) -> set[str]:
    """The top-level names that a program imports; none where it is not Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()  # preflight and the run itself report it
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _read(path: Path) -> str:
    try:
        return python_source(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)


def _copy_with_mode(source: str, target: str) -> None:
    copy_file(Path(source), Path(target))
    shutil.copymode(source, target)
