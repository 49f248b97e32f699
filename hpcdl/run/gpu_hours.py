"""GPU-hours of a user's runs in a runs_root: those used, and those that runs under way hold.

What ended runs have used is remembered in ``<runs_root>/.index``, so that thousands of them cost a
stat each. A row counts while the run's attempts.jsonl is as it was: resuming adds a line to it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpcdl.files import others_could_write, read_json, write_text
from hpcdl.run.paths import SWEEP, RunPaths
from hpcdl.run.records import Submitted, read_attempts
from hpcdl.run.result import Result
from hpcdl.run.usage import usage

_INDEX = ".index"
_SETTLED_S = 60.0  # a line may still be on its way into a file that is younger


@dataclass(frozen=True)
class Holding:
    """The GPU-hours of one run.

    Args:
        folder: the run's, or a sweep's.
        used: by its attempts that have ended; of a sweep nothing is read here.
        reserved: by the attempt that waits or runs, if it takes all its time.
        is_sweep: whether the folder is a sweep's.
    """

    folder: Path
    used: float = 0.0
    reserved: float = 0.0
    is_sweep: bool = False


def holdings(runs_root: Path) -> list[Holding]:
    """The GPU-hours of this user's runs in SLURM, by their own files; SLURM is not asked.

    A run whose files do not show its end holds what it asked for.
    """
    remembered = _Remembered(runs_root)
    found = []
    for folder in _own_folders(runs_root):
        found.append(remembered.holding(folder))
    remembered.save()
    return found


def holding_of(folder: Path, is_over: bool | None = None) -> Holding:
    """The GPU-hours of one run.

    Args:
        folder: the run's.
        is_over: whether it has ended for good; None to decide it by its files.
    """
    paths = RunPaths(folder)
    if os.path.exists(folder / SWEEP):
        return Holding(folder, is_sweep=True)
    submitted = Submitted.read(paths)
    if submitted is None or submitted.backend != "slurm":
        return Holding(folder)
    if is_over is None:
        is_over = shows_its_end(paths)
    so_far = usage(paths, is_over, time.time())
    if is_over:
        return Holding(folder, used=so_far.gpu_hours)
    ended_s = sum(turn.seconds for turn in so_far.turns if turn.reason is not None)
    used = so_far.request.all_gpus * ended_s / 3600
    return Holding(folder, used, so_far.request.reserved_gpu_hours)


def shows_its_end(paths: RunPaths) -> bool:
    """Whether a run's files show that it has ended for good."""
    if paths.cancelled.exists():
        return True
    if Result.read(paths) is None:
        return False
    events = read_attempts(paths)
    return bool(events) and events[-1].is_end


def _own_folders(runs_root: Path) -> Iterator[Path]:
    """The folders of runs that belong to this user: ``<name>/<run_id>``."""
    user = os.geteuid()
    for name in _folders(str(runs_root)):
        for folder in _folders(name):
            with suppress(OSError):
                if os.stat(folder).st_uid == user:
                    yield Path(folder)


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")
            )
    except OSError:
        return []


class _Remembered:
    """What ended runs have used: ``{"name/run_id": [mtime_ns, size, GPU-hours]}``.

    Each user has an own file. Nothing fails without it.

    Args:
        runs_root: the folder of runs.
    """

    def __init__(self, runs_root: Path) -> None:
        self._root = runs_root
        self._path = runs_root / _INDEX / f"gpu-hours-{os.geteuid()}.json"
        self._before: dict[str, object] = {}
        if others_could_write(self._path) is None:
            self._before = read_json(self._path) or {}
        self._rows: dict[str, object] = {}

    def holding(self, folder: Path) -> Holding:
        """A run's GPU-hours: the remembered ones, if they still count."""
        key = str(folder.relative_to(self._root))
        mark = self._mark(folder)
        row = self._before.get(key)
        if isinstance(row, list) and len(row) == 3 and row[:2] == mark:
            self._rows[key] = row
            return Holding(folder, used=float(row[2]))
        holding = holding_of(folder)
        is_settled = mark[1] > 0 and time.time() - mark[0] / 1e9 > _SETTLED_S
        if is_settled and not holding.is_sweep and shows_its_end(RunPaths(folder)):
            self._rows[key] = [*mark, holding.used]
        return holding

    def _mark(self, folder: Path) -> list[int]:
        """When attempts.jsonl was changed, and how long it is."""
        try:
            state = os.stat(RunPaths(folder).attempts)
        except OSError:
            return [0, 0]
        return [state.st_mtime_ns, state.st_size]

    def save(self) -> None:
        """Write the file if something is new."""
        if self._rows == self._before:
            return
        with suppress(OSError):
            if not self._path.parent.exists():
                self._path.parent.mkdir()  # for all who may add runs to the runs_root
                self._path.parent.chmod(stat.S_IMODE(self._root.stat().st_mode))
            write_text(self._path, json.dumps(self._rows, separators=(",", ":")))
