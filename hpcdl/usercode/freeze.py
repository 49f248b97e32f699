"""Copies what a queued job needs, so that a later edit or upgrade cannot touch it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hpcdl.errors import RunError, UserError
from hpcdl.files import close_to_others, copy_file, nobody_else_writes
from hpcdl.job import Job
from hpcdl.oserrors import failed_path, reason
from hpcdl.planning import NOTEBOOK_RUNNER, SUPPORT
from hpcdl.run.paths import code_folder, holds_runs
from hpcdl.usercode.clashes import clashes
from hpcdl.usercode.folders import copy_folder
from hpcdl.usercode.source import NOTEBOOK
from hpcdl.usercode.user_files import user_files

_PACKAGE = Path(__file__).resolve().parent.parent
_TEMPLATES = "_data/templates"


def code_sha() -> str:
    """The sha256 (16 hex digits) of hpcdl's own files: names and bytes."""
    return _sha_of(_PACKAGE)


def _sha_of(package: Path) -> str:
    digest = hashlib.sha256()
    for name, path in _sources(package).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def freeze_code(runs_root: Path, sha: str | None = None) -> Path:
    """Keep hpcdl's own code under ``<runs_root>/.code/<sha>/hpcdl``, once per version.

    Args:
        runs_root: the folder of all runs.
        sha: the code's, if the caller knows it: some hundred files are read for it.

    Returns:
        The folder for PYTHONPATH.

    Raises:
        RunError: another hpcdl is being installed just now.
    """
    folder = code_folder(runs_root, sha or code_sha())
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
        try:
            with nobody_else_writes():
                copy_code(aside / "hpcdl")
                freeze_support(aside)
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
    with suppress(OSError):  # somebody else's
        os.utime(folder)  # `hpcdl clean` leaves alone what is young
    return folder


def _sources(package: Path) -> dict[str, Path]:
    """hpcdl's files by their names in a wheel, in the same order everywhere.

    These are its Python files, the profiles, a test job, the page that a run exports, and the
    templates of pages and batch scripts: a command of hpcdl's that is a job needs them.
    """
    files = {}
    for path in _files_below(package, (".py", ".yaml", ".html", ".css", ".js")):
        # _data is a wheel's: the scripts of its jobs are not hpcdl's code
        if path.relative_to(package).parts[0] != "_data":
            files[str(path.relative_to(package))] = path
    templates = package / _TEMPLATES
    if not templates.is_dir():  # a checkout has them next to the package
        templates = package.parent / templates.name
    for path in _files_below(templates, ("",)):
        files[f"{_TEMPLATES}/{path.relative_to(templates)}"] = path
    return dict(sorted(files.items()))


def _files_below(top: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """The files in a folder and those below it, but for what Python keeps compiled."""
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            if name.endswith(endings):
                yield Path(folder, name)


def copy_code(target: Path) -> None:
    """Copy hpcdl's own files to a folder."""
    for name, path in _sources(_PACKAGE).items():
        _copy(path, target / name)


def freeze_user_files(job: Job, target: Path) -> None:
    """Copy a job's script or function, what it imports from next to it, and its ``files``.

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
    """Copy `hpcdl.trainer.support` into a folder, under the name that programs import."""
    for path in sorted((_PACKAGE / "trainer" / "support").glob("*.py")):
        folder = target / SUPPORT
        if path.name != os.path.basename(NOTEBOOK_RUNNER):  # that one starts the others' package
            folder /= "hpcdl_support"
        _copy(path, folder / path.name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)
