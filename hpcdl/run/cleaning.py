"""How much disk a run uses, by kind, which part can be removed, and removing it."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcdl.contract import run_files
from hpcdl.errors import HpcdlError
from hpcdl.run import Run, records, states
from hpcdl.run.logs import numbered
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.state import Status
from hpcdl.run.tidying import caches_in

_MOMENT_S = 600.0  # how long a job may take to be sent, or to end when it is cancelled
# Where `remove_place` puts a folder aside: runs and code, and parts of runs, folds and trials
_ASIDE = ("*/.*.removed", "*/*/.*.removed", "*/*/*/.*.removed", "*/*/*/*/.*.removed")
KINDS = ("checkpoints", "features", "caches", "logs", "models")


@dataclass(frozen=True)
class Removal:
    """What can be removed of one run.

    Args:
        run: the run.
        state: its state.
        places: the files and folders that would be removed, whole.
        size_bytes: how much disk they use.
        kinds_bytes: how much disk the run's files of each kind use.
        kept: why nothing can be removed; empty if it can.
        note: what stays of it, if that matters.
    """

    run: Run
    state: str
    places: tuple[Path, ...]
    size_bytes: int
    kinds_bytes: dict[str, int] = field(default_factory=dict)
    kept: str = ""
    note: str = ""


def removal(run: Run, checkpoints_only: bool = False, kinds: Sequence[str] = ()) -> Removal:
    """Find out what can be removed of a run: all of it, unless the other arguments say less.

    Args:
        run: the run.
        checkpoints_only: all its checkpoints, which a run that is done or cancelled does not need.
        kinds: some of `KINDS`: what `spare_files` gives.
    """
    paths = run.paths
    status = run.status()
    places: tuple[Path, ...] = (paths.root,)
    if checkpoints_only:
        places = _checkpoints(paths)
    elif kinds:
        spare = []
        for kind in kinds:
            spare += spare_files(paths, kind, status.state)
        places = tuple(spare)
    size_bytes = sum(size_of(place) for place in places)
    kept = _why_kept(run, status, checkpoints_only, bool(kinds))
    note = ""
    if places and "checkpoints" in kinds and status.state in (states.FAILED, states.LOST):
        note = "its newest checkpoint stays, for hpcdl resume"
    return Removal(run, status.state, places, size_bytes, sizes_by_kind(paths), kept, note)


def sizes_by_kind(paths: RunPaths) -> dict[str, int]:
    """How much disk the files of each kind use, in bytes."""
    sizes = {}
    for kind in KINDS:
        sizes[kind] = sum(size_of(place) for place in _places(paths, kind))
    return sizes


def spare_files(paths: RunPaths, kind: str, state: str) -> list[Path]:
    """The files of a kind that a run which has ended can do without.

    The newest checkpoint, the model and the last attempt's log stay, and so does what
    `hpcdl resume` would go on with.

    Args:
        paths: the run.
        kind: one of `KINDS`.
        state: the run's.
    """
    if kind == "checkpoints":
        return _older_checkpoints(paths)
    if kind == "features":
        goes_on = state not in (states.DONE, states.PRUNED, states.CANCELLED)
        return [] if goes_on else _features(paths)
    if kind == "caches":
        return [] if isinstance(paths, TrialPaths) else caches_in(paths.home)
    if kind == "logs":
        return _spare_logs(paths)
    return list((paths.root / run_files.MODEL).glob("aside-*"))  # a crash left them


def remove(what: Removal) -> None:
    """Remove it; see `remove_place`.

    Raises:
        HpcdlError: something cannot be removed.
    """
    for place in what.places:
        remove_place(place)


def remove_place(place: Path) -> None:
    """Remove a file or folder. A folder gets a hidden name first: nobody sees half a folder.

    Raises:
        HpcdlError: it cannot be removed.
    """
    aside = place.with_name(f".{place.name}.removed")
    try:
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
            return
        if aside.exists():  # a removal was interrupted
            shutil.rmtree(aside)
        place.rename(aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise HpcdlError(
            f"cannot remove {error.filename}: {error.strerror}; the rest of it is in {aside}"
        ) from error


def interrupted_removals(roots: Sequence[Path]) -> list[Path]:
    """What removals left because they were interrupted: hidden folders that nothing reads."""
    left: list[Path] = []
    for root in roots:
        for pattern in _ASIDE:
            left += root.glob(pattern)
    return left


def size_of(place: Path) -> int:
    """How much disk a file or folder uses, in bytes."""
    total_bytes = _blocks_bytes(place)
    for folder, _, files in os.walk(place):
        for name in files:
            total_bytes += _blocks_bytes(Path(folder, name))
    return total_bytes


def _blocks_bytes(file: Path) -> int:
    """How much disk a file uses; 0 for a folder, or if it was removed meanwhile."""
    try:
        status = file.lstat()  # not the file that a link names: it may be closed to this user
    except OSError:
        return 0
    return 0 if stat.S_ISDIR(status.st_mode) else status.st_blocks * 512


def _places(paths: RunPaths, kind: str) -> Iterator[Path]:
    """The files and folders of a kind."""
    if kind == "checkpoints":
        yield from _checkpoints(paths)
    elif kind == "features":
        yield from _features(paths)
    elif kind == "caches" and not isinstance(paths, TrialPaths):
        yield from caches_in(paths.home)
    elif kind == "logs" and isinstance(paths, TrialPaths):
        yield from paths.root.glob("*.log")
        yield paths.root / run_files.LOGS
    elif kind == "logs":
        yield paths.logs
    elif kind == "models":
        yield paths.root / run_files.MODEL
        yield paths.root / run_files.EXPORT


def _checkpoints(paths: RunPaths) -> tuple[Path, ...]:
    """The folders of checkpoints: the run's own, and those of its folds."""
    places = [paths.checkpoints, *(fold.checkpoints for fold in paths.folds())]
    return tuple(place for place in places if place.is_dir())


def _older_checkpoints(paths: RunPaths) -> list[Path]:
    """All checkpoints but the newest of the run, or of each of its folds."""
    older: list[Path] = []
    for folder in _checkpoints(paths):
        saved = [path for path in folder.glob("*.npz") if path.stem.isdigit()]
        saved.sort(key=lambda path: int(path.stem))
        older += saved[:-1]
    return older


def _features(paths: RunPaths) -> list[Path]:
    """A frozen backbone's features and a teacher's answers, if the run has its own."""
    files = [paths.root / run_files.FEATURES, paths.root / run_files.TEACHER]
    return [file for file in files if file.exists()]


def _spare_logs(paths: RunPaths) -> list[Path]:
    """Logs of earlier attempts, and those of one stream or of TensorFlow alone."""
    spare: list[Path] = []
    for log in numbered(paths):
        attempt = int(log.stem)
        parts = (paths.stdout_log(attempt), paths.stderr_log(attempt), paths.noise_log(attempt))
        spare += [part for part in parts if part.exists()]
    return [*numbered(paths)[:-1], *spare]


def why_not_ours(root: Path) -> str:
    """Why a run's folder is not this user's to remove; empty if it is."""
    if root.is_symlink():
        return f"it is a link to {os.readlink(root)}"
    if root.stat().st_uid != os.geteuid() and os.geteuid() != 0:
        return "it is not yours"
    return ""


def _why_kept(run: Run, status: Status, checkpoints_only: bool, parts_only: bool) -> str:
    """Why nothing of a run can be removed; empty if it can."""
    not_ours = why_not_ours(run.paths.root)
    if not_ours:
        return not_ours
    if status.state not in states.FINAL and status.state != states.CREATED:
        return f"it is {status.state}; hpcdl cancel ends it"
    if status.state == states.CREATED and time.time() - run.created() < _MOMENT_S:
        return "it was made a moment ago, and may be on its way to SLURM"
    if status.state == states.CREATED and parts_only:
        return "it has not run yet"
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
