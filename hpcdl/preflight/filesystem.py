"""The folders that a run needs: shared with the nodes, writable where it writes, and with room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.hostpython import node_local

LEAST_MB, FEW_MB, LEAST_FILES = 100, 2000, 1000


def file_system(subject: Subject) -> Iterator[Finding]:
    """runs_root is shared, writable and has room; what the container binds is there; data_root is readable."""
    decided = subject.plan
    root = subject.submission.paths.root.parent.parent
    given = str(root) != os.path.abspath(subject.cluster.runs_root)
    for finding in _runs_root(root, shared=subject.submission.backend == "slurm"):
        yield replace(finding, source="--runs-dir", key="") if given else finding
    for bind in decided.binds:
        source = bind.split(":")[0]
        if not os.path.exists(source):
            wrong = f"{source} is not there, and the container is to see it"
            if os.path.islink(source):
                wrong = f"{source} is a link to {os.readlink(source)}, which is not there"
            yield Finding(wrong, "correct binds in the profile", "profile", "binds")
    data_root = decided.data_root
    if os.path.isdir(data_root) and not os.access(data_root, os.R_OK | os.X_OK):
        yield Finding(
            f"you cannot read {data_root}", _ask_owner(Path(data_root)), "profile", "data_root"
        )
    if (
        subject.submission.backend == "slurm"
        and decided.script is not None
        and not os.path.isdir(data_root)
    ):
        wrong = f"there is no data_root {data_root}: hpcdl submit can do without, a script from hpcdl render cannot"
        yield Finding(
            wrong,
            f"mkdir -p {data_root}, or correct it in the profile",
            "profile",
            "data_root",
            blocks=False,
        )
    if decided.workdir and not os.access(decided.workdir, os.W_OK | os.X_OK):
        wrong = f"you cannot write in the working directory {decided.workdir}"
        yield Finding(wrong, _ask_owner(Path(decided.workdir)), "job", "workdir", blocks=False)


def _runs_root(folder: Path, shared: bool) -> Iterator[Finding]:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    local = node_local(str(folder)) if shared else None
    if local:
        wrong = f"runs_root is {folder}: every machine has its own {local}, and the compute nodes would not find the run"
        yield _finding(
            wrong,
            "put runs on the shared file system: --runs-dir DIR, or --set cluster.runs_root=DIR",
        )
    if not there.is_dir():
        yield _finding(
            f"runs_root is {folder}, but {there} is a file", "choose another: --runs-dir DIR"
        )
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield _finding(
            f"you cannot write in {there}, where runs_root is to be",
            "choose another: --runs-dir DIR",
        )
    stat = os.statvfs(there)
    free_mb = stat.f_bavail * stat.f_frsize / 1e6
    if free_mb < FEW_MB:
        wrong = f"{there} has {free_mb:,.0f} MB free; checkpoints and logs go there"
        yield _finding(
            wrong, "remove old runs, or choose another: --runs-dir DIR", free_mb < LEAST_MB
        )
    if stat.f_files > 0 and stat.f_favail < LEAST_FILES:
        wrong = f"the file system of {there} has room for {stat.f_favail} more files only"
        yield _finding(
            wrong,
            "remove files, or choose another: --runs-dir DIR",
            stat.f_favail < LEAST_FILES // 10,
        )


def _ask_owner(path: Path) -> str:
    try:
        return f"it belongs to {path.owner()}; ask for access, or use another"
    except (KeyError, OSError):
        return "ask its owner for access, or use another"


def _finding(cause: str, fix: str, blocks: bool = True) -> Finding:
    return Finding(cause, fix, "profile", "runs_root", blocks)
