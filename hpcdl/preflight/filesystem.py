"""The folders that a run needs: shared with the nodes, writable where it writes, and with room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpcdl.mounts.file_systems import file_system_of
from hpcdl.planning import Script
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.exclusive_links import fault_of_links
from hpcdl.preflight.hostpython import node_local

_TOO_FULL_MB, _NEARLY_FULL_MB = 100, 2000  # free space of runs_root
_TOO_FEW_FILES, _FEW_FILES = 100, 1000  # that its file system can still create
_OTHER_RUNS_DIR = "choose another: --runs-dir DIR"


def file_system(subject: Subject) -> Iterator[Finding]:
    """runs_root is usable, the container's binds exist, and data_root can be read."""
    runs_root = subject.submission.paths.root.parent.parent
    for finding in _runs_root(runs_root, shared=subject.submission.backend == "slurm"):
        yield _by_option(subject, finding)
    yield from _binds(subject.cluster.binds)
    yield from _data_root(subject, subject.plan.data_root)
    workdir = subject.job.workdir
    if workdir and not _is_usable(workdir, os.W_OK):
        cause = f"you cannot write in the working directory {workdir}"
        yield Finding(cause, _ask_owner(Path(workdir)), "job", "workdir", blocks=False)


def exclusive_links(subject: Subject) -> Iterator[Finding]:
    """Of two processes that make the same symbolic link in runs_root, exactly one succeeds.

    The tasks of a sweep claim their trials this way; see `hpcdl.sweeps.claims`.
    """
    folder = _existing(subject.submission.paths.root.parent.parent)
    if not folder.is_dir() or not _is_usable(folder, os.W_OK):
        return  # the check of the folder itself says so
    fault = fault_of_links(folder)
    if fault is None:
        return
    claim = "the tasks of a sweep claim their trials by such links, and each needs one owner"
    cause = f"{folder} is on {file_system_of(folder)}: {fault}; {claim}"
    fix = "put runs on another file system: --runs-dir DIR, or --set cluster.runs_root=DIR"
    yield _by_option(subject, _finding(cause, fix))


def _by_option(subject: Subject, finding: Finding) -> Finding:
    """A finding about runs_root, which an option may have named instead of the profile."""
    runs_root = subject.submission.paths.root.parent.parent
    if str(runs_root) == os.path.abspath(subject.cluster.runs_root):
        return finding
    return replace(finding, source="--runs-dir", key="")


def _existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _binds(binds: list[str]) -> Iterator[Finding]:
    """The folders and files that the container is to show exist."""
    for bind in binds:
        source = bind.split(":")[0]
        if os.path.exists(source):
            continue
        cause = f"{source} does not exist, but the container is to show it"
        if os.path.islink(source):
            cause = f"{source} is a link to {os.readlink(source)}, which does not exist"
        yield Finding(cause, "correct binds in the profile", "profile", "binds")


def _data_root(subject: Subject, data_root: str) -> Iterator[Finding]:
    """data_root can be read. A script job needs the folder itself if it is rendered."""
    exists = os.path.isdir(data_root)
    if exists and not _is_usable(data_root, os.R_OK):
        fix = _ask_owner(Path(data_root))
        yield Finding(f"you cannot read {data_root}", fix, "profile", "data_root")
    is_script = isinstance(subject.plan.program, Script)
    is_slurm_script = subject.submission.backend == "slurm" and is_script
    if is_slurm_script and not exists:
        cause = f"there is no data_root {data_root}"
        limits = "hpcdl submit works without it, a script from hpcdl render does not"
        fix = f"mkdir -p {data_root}, or correct it in the profile"
        yield Finding(f"{cause}: {limits}", fix, "profile", "data_root", blocks=False)


def _runs_root(folder: Path, shared: bool) -> Iterator[Finding]:
    """The folder of all runs is shared, and has room.

    Args:
        folder: runs_root, which need not exist yet.
        shared: whether the nodes must see it.
    """
    existing = _existing(folder)
    own_folder = node_local(str(folder)) if shared else None
    if own_folder:
        cause = f"runs_root is {folder}: each machine has its own {own_folder}"
        fix = "put runs on the shared file system: --runs-dir DIR, or --set cluster.runs_root=DIR"
        yield _finding(f"{cause}, so the compute nodes would not find the run", fix)
    if not existing.is_dir():
        yield _finding(f"runs_root is {folder}, but {existing} is a file", _OTHER_RUNS_DIR)
        return
    if not _is_usable(existing, os.W_OK):
        yield _finding(f"you cannot write in {existing}, where runs_root would be", _OTHER_RUNS_DIR)
    yield from _room(existing)


def _room(folder: Path) -> Iterator[Finding]:
    """There is space for checkpoints and logs, and the file system can create more files."""
    stat = os.statvfs(folder)
    free_mb = stat.f_bavail * stat.f_frsize / 1e6
    if free_mb < _NEARLY_FULL_MB:
        cause = f"{folder} has {free_mb:,.0f} MB free; checkpoints and logs go there"
        yield _finding(cause, f"remove old runs, or {_OTHER_RUNS_DIR}", free_mb < _TOO_FULL_MB)
    # Some file systems do not count files: they give 0.
    if stat.f_files > 0 and stat.f_favail < _FEW_FILES:
        cause = f"the file system of {folder} has room for only {stat.f_favail} more files"
        fix = f"remove files, or {_OTHER_RUNS_DIR}"
        yield _finding(cause, fix, stat.f_favail < _TOO_FEW_FILES)


def _is_usable(folder: str | Path, mode: int) -> bool:
    """Whether this user may enter a folder, and read or write in it."""
    return os.access(folder, mode | os.X_OK)


def _ask_owner(path: Path) -> str:
    try:
        return f"it belongs to {path.owner()}; ask for access, or use another"
    except (KeyError, OSError):
        return "ask its owner for access, or use another"


def _finding(cause: str, fix: str, blocks: bool = True) -> Finding:
    return Finding(cause, fix, "profile", "runs_root", blocks)
