"""Makes the run folder: everything that a queued job needs, on disk before it is sent."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl import packages, planfile
from hpcdl.cache import cached_sha256
from hpcdl.contract.pack_layout import PACK
from hpcdl.contract.spec import RunSpec
from hpcdl.contract.version import __version__
from hpcdl.errors import RunError, UserError
from hpcdl.files import close_to_others, copy_file, nobody_else_writes, write_json, write_text
from hpcdl.job import Job
from hpcdl.job.sbatchoptions import NO_DIRECTIVE, directive_carries
from hpcdl.job.text import job_text
from hpcdl.oserrors import sentence
from hpcdl.planning import Plan, Script
from hpcdl.run.paths import RunPaths
from hpcdl.staging.listing import list_files
from hpcdl.usercode.folders import copy_folder
from hpcdl.usercode.freeze import freeze_code, freeze_user_files
from hpcdl.usercode.user_files import user_files

_UNSAFE = set(":,%")  # SLURM and submitit expand %, binds split at : and ,


def new_run(name: str, runs_root: Path, in_slurm: bool = True) -> RunPaths:
    """The paths of a new run: ``<runs_root>/<name>/<time>-<four letters>``.

    Args:
        name: the job's name.
        runs_root: the folder of all runs.
        in_slurm: whether a batch script will name them.

    Raises:
        UserError: the path has a character that SLURM or a bind cannot carry.
    """
    if in_slurm and not directive_carries(str(runs_root)):
        raise UserError(f"runs_root: {NO_DIRECTIVE}; got {str(runs_root)!r}")
    bad = sorted(set(str(runs_root)) & _UNSAFE)
    if bad:
        raise UserError(
            f"runs_root is {str(runs_root)!r}: "
            f"SLURM and Apptainer cannot carry {' '.join(map(repr, bad))} in it"
        )
    letters = "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(4))
    return RunPaths(runs_root / name / f"{time.strftime('%Y%m%d-%H%M')}-{letters}")


def create(
    paths: RunPaths,
    job: Job,
    plan: Plan,
    spec: RunSpec | None,
    command_line: Sequence[str],
    sha: str | None = None,
) -> Path:
    """Write the run folder, whole or not at all.

    Args:
        paths: the run's.
        job: the job.
        plan: what was decided of it.
        spec: the contract with the trainer; None for a script.
        command_line: what the user typed.
        sha: of hpcdl's own code, where the caller has asked for it already.

    Returns:
        The folder of the frozen hpcdl code, for PYTHONPATH.

    Raises:
        RunError: the folder cannot be written.
        UserError: a file of the user's cannot be read.
    """
    return make(paths, job, plan, spec, Origin(command_line, sha))


@dataclass(frozen=True)
class Origin:
    """Where a run comes from.

    Args:
        command_line: what the user typed.
        sha: of hpcdl's own code, if the caller has asked for it already.
        fill: what writes more into the folder before it gets its name.
        profile: the profile's name or file; "" where there is none.
    """

    command_line: Sequence[str]
    sha: str | None = None
    fill: Callable[[RunPaths], None] | None = None
    profile: str = ""


def make(paths: RunPaths, job: Job, plan: Plan, spec: RunSpec | None, origin: Origin) -> Path:
    """Write the run folder, whole or not at all, as `create` does.

    Args:
        paths: the run's.
        job: the job.
        plan: what was decided of it.
        spec: the contract with the trainer; None for a script.
        origin: where it comes from.

    Returns:
        The folder of the frozen hpcdl code.

    Raises:
        RunError: the folder cannot be written.
        UserError: a file of the user's cannot be read.
    """
    user_files(job)  # its errors come before anything is made
    runs_root = paths.root.parent.parent
    aside = RunPaths(paths.root.with_name(f".{paths.root.name}"))
    try:
        aside.root.parent.mkdir(parents=True, exist_ok=True)
        code = freeze_code(runs_root, origin.sha)
        with nobody_else_writes():
            _fill(aside, job, plan)
        close_to_others(aside.root)
        write_text(aside.job, job_text(job))
        write_json(aside.plan, planfile.to_json(plan))
        if spec is not None:
            write_text(aside.spec, spec.to_json())
        write_json(aside.manifest, _manifest(job, plan, spec, code, origin))
        if origin.fill is not None:
            origin.fill(aside)
        aside.root.rename(paths.root)
    except OSError as error:
        shutil.rmtree(aside.root, ignore_errors=True)
        error.filename = error.filename or str(runs_root)
        raise RunError(f"cannot make the run folder {paths.root}: {sentence(error)}") from error
    except BaseException:
        shutil.rmtree(aside.root, ignore_errors=True)
        raise
    return code


def _fill(paths: RunPaths, job: Job, plan: Plan) -> None:
    """Make the folders, and freeze the user's files."""
    paths.root.mkdir()
    paths.logs.mkdir()
    paths.submitit.mkdir(mode=0o700)
    freeze_user_files(job, paths.user)
    if isinstance(plan.program, Script) and plan.program.workdir is None:
        paths.work.mkdir()
        put_files(job, paths)


def put_files(job: Job, paths: RunPaths) -> None:
    """Copy a script's ``files`` into its working directory, where it opens them by name.

    They are copies, so that a script may change them: what was frozen, in ``user/``, stays. So are
    modules of folders that it puts on ``sys.path``, which may be relative to the working directory.
    """
    names = user_files(job)
    chosen = [names[Path(text)] for text in job.files]
    modules = [name for name in names.values() if "/" in name and name.split("/")[0] != "hpcdl"]
    for name in dict.fromkeys([*chosen, *modules]):
        source, target = paths.user / name, paths.work / name
        if source.is_dir():
            copy_folder(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(source, target)
            shutil.copymode(source, target)


def _manifest(
    job: Job, plan: Plan, spec: RunSpec | None, code: Path, origin: Origin
) -> dict[str, Any]:
    data = spec.data.path if spec else None
    return {
        "hpcdl": __version__,
        "python": sys.version.split()[0],
        "command_line": list(origin.command_line),
        "working_directory": os.getcwd(),
        "created": time.time(),
        "code": {"sha256": code.name, "folder": str(code)},
        "git_commit": _git_commit(Path(job.folder)),
        "image": _hashed(plan.container.image if plan.container else None),
        "packages": packages.manifest(plan),
        "data": _data(data),
        **_other_models(spec),
        "job_file": job.source,
        "profile": origin.profile or None,
    }


def _other_models(spec: RunSpec | None) -> dict[str, Any]:
    """The models of other runs that a training uses, if there are any."""
    models = [spec.start.model] if spec and spec.start else []
    if spec and spec.train.distill:
        models += spec.train.distill.teacher
    return {"models": [_hashed(model) for model in models]} if models else {}


def _hashed(name: str | None) -> dict[str, Any] | None:
    """A file's path, hash and size. Folders, and files that only nodes see, have the path alone."""
    if name is None:
        return None
    path = Path(name)
    if not path.is_file():
        return {"path": name, "sha256": None}
    return {"path": name, "sha256": cached_sha256(path), "bytes": path.stat().st_size}


def _data(name: str | None) -> dict[str, Any] | None:
    """The data set's path and what identifies it.

    That is a file's sha256; for a folder, the sha256 of its names and sizes. A folder that hpcdl
    packed has ``pack_sha256`` as well: pack.json holds the sha256 of all its files.
    """
    entry = _hashed(name)
    if name is None or entry is None or not Path(name).is_dir():
        return entry
    try:
        listing = list_files(name)
    except OSError:  # the node says what is wrong with it
        listing = None
    if listing is not None:
        entry |= {"listing_sha256": listing.sha256, "files": listing.files, "bytes": listing.bytes}
    pack = Path(name, PACK)
    if pack.is_file():
        entry["pack_sha256"] = cached_sha256(pack)
    return entry


def _git_commit(folder: Path) -> str | None:
    """The commit of the job file's folder, with ``-dirty`` if files were edited since."""
    argv = ["git", "-C", str(folder), "describe"]
    argv += ["--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(
            argv, capture_output=True, timeout=10, check=False, encoding="utf-8", errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
