"""How much disk a run uses, which part can be removed, and removing it."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from hpcdl.errors import HpcdlError
from hpcdl.run import Run, records, states
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import Status

_MOMENT_S = 600.0  # how long a job may take to be sent, or to end when it is cancelled


@dataclass(frozen=True)
class Removal:
    """What can be removed of one run.

    Args:
        run: the run.
        state: its state.
        folders: what would be removed, whole.
        size_bytes: how much disk they use.
        kept: why nothing can be removed; empty if it can.
    """

    run: Run
    state: str
    folders: tuple[Path, ...]
    size_bytes: int
    kept: str = ""


def removal(run: Run, checkpoints_only: bool) -> Removal:
    """Find out what can be removed of a run.

    Args:
        run: the run.
        checkpoints_only: only its checkpoints, which a run that has ended for good does not need.
    """
    status = run.status()
    folders: tuple[Path, ...] = (run.paths.root,)
    if checkpoints_only:
        folders = _checkpoints(run.paths)
    size_bytes = sum(_size_bytes(folder) for folder in folders)
    kept = _why_kept(run, status, checkpoints_only)
    return Removal(run, status.state, folders, size_bytes, kept)


def remove(what: Removal) -> None:
    """Remove it. A folder gets a hidden name first, so that nobody sees half a run.

    Raises:
        HpcdlError: something cannot be removed.
    """
    for folder in what.folders:
        aside = folder.with_name(f".{folder.name}.removed")
        try:
            folder.rename(aside)
            shutil.rmtree(aside)
        except OSError as error:
            raise HpcdlError(
                f"cannot remove {error.filename}: {error.strerror}; the rest of it is in {aside}"
            ) from error


def _checkpoints(paths: RunPaths) -> tuple[Path, ...]:
    """The folders of checkpoints: the run's own, and those of its folds."""
    places = [paths.checkpoints, *(fold.checkpoints for fold in paths.folds())]
    return tuple(place for place in places if place.is_dir())


def _size_bytes(folder: Path) -> int:
    """How much disk a folder uses."""
    total_bytes = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total_bytes += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue  # removed meanwhile
    return total_bytes


def _why_kept(run: Run, status: Status, checkpoints_only: bool) -> str:
    """Why nothing of a run can be removed; empty if it can."""
    root = run.paths.root
    if root.is_symlink():
        return f"it is a link to {os.readlink(root)}"
    owner = root.stat().st_uid
    if owner != os.geteuid() and os.geteuid() != 0:
        return "it is not yours"
    if status.state not in states.FINAL and status.state != states.CREATED:
        return f"it is {status.state}; hpcdl cancel ends it"
    if status.state == states.CREATED and time.time() - run.created() < _MOMENT_S:
        return "it was made a moment ago, and may be on its way to SLURM"
    if status.state == states.CANCELLED and _may_still_run(run.paths):
        return "it was cancelled a moment ago, and may not have ended yet"
    if checkpoints_only and status.state in (states.FAILED, states.LOST):
        return "hpcdl resume would go on from its checkpoints"
    return ""


def _may_still_run(paths: RunPaths) -> bool:
    """Whether a cancelled run's last attempt may still run: it has not had much time to end."""
    events = records.read_attempts(paths)
    if not events or not events[-1].is_start:
        return False
    try:
        return time.time() - paths.cancelled.stat().st_mtime < _MOMENT_S
    except OSError:
        return True
