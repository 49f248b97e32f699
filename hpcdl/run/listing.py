"""The runs below some folders, each read only as far as a command needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpcdl.errors import RunError
from hpcdl.run.handle import Run
from hpcdl.run.index import Fingerprint, Index, Row, fingerprint, is_settled
from hpcdl.run.looking import Look, look
from hpcdl.run.paths import SWEEP
from hpcdl.run.score import score
from hpcdl.run.state import Status


@dataclass(frozen=True)
class ListedRun:
    """A run, or a sweep, of which only the place and the age are read.

    Args:
        folder: its folder.
        created: when it was made (unix time).
        is_sweep: whether it is a sweep.
        key: its path in the index's runs_root.
        index: the rows of its runs_root; None if there are none.
    """

    folder: str
    created: float
    is_sweep: bool = False
    key: str = ""
    index: Index | None = None

    @property
    def name(self) -> str:
        """``<name>/<run_id>``."""
        return "/".join(self.folder.rsplit("/", 2)[-2:])

    @property
    def root(self) -> Path:
        """Its folder."""
        return Path(self.folder)


@dataclass(frozen=True)
class RunStatus:
    """A run's name, place and status.

    Args:
        name: ``<name>/<run_id>``.
        folder: its folder.
        status: its status.
        score: what it has reached, in a few words.
    """

    name: str
    folder: str
    status: Status
    score: str


class Listing:
    """The runs and sweeps below some folders, oldest first.

    Args:
        roots: runs_roots (a run is two levels below), or folders into which runs were moved (a run
            is one level below).
        fresh: whether to read all anew, also what is remembered of runs that have ended.
    """

    def __init__(self, roots: Sequence[Path], fresh: bool = False) -> None:
        self.roots = list(roots)
        self._indexes = [Index(root, fresh) for root in roots]
        runs: dict[str, ListedRun] = {}
        for index in self._indexes:
            for run in _runs_of(index):
                runs.setdefault(run.folder, run)
        self.runs = sorted(runs.values(), key=lambda run: (run.created, run.name))

    def save(self) -> None:
        """Remember what was read, for the next command."""
        for index in self._indexes:
            index.save()


def listed(run: Run) -> ListedRun:
    """A run that was given by its folder."""
    paths = run.paths
    is_sweep = os.path.exists(paths.root / SWEEP)
    return ListedRun(str(paths.root), run.created(), is_sweep)


def statuses(runs: Sequence[ListedRun]) -> list[RunStatus]:
    """The statuses of runs; only those that are new or have not ended for good are read.

    A run that was removed meanwhile is left out. SLURM is asked at most once.
    """
    remembered: dict[str, RunStatus] = {}
    attempts: dict[str, Fingerprint] = {}
    to_read: list[Run] = []
    for listed_run in runs:
        row = None
        if listed_run.index is not None:
            row = listed_run.index.rows.get(listed_run.key)
        # Before the run is read: what changes meanwhile makes the row count no more
        now = fingerprint(f"{listed_run.folder}/attempts.jsonl")
        if row is not None and row.status is not None and row.attempts == now:
            remembered[listed_run.folder] = RunStatus(
                listed_run.name, listed_run.folder, row.status, row.score
            )
            continue
        attempts[listed_run.folder] = now
        with suppress(RunError):
            to_read.append(Run(listed_run.folder))
    remembered.update(_read(to_read, {run.folder: run for run in runs}, attempts))
    return [remembered[run.folder] for run in runs if run.folder in remembered]


def _read(
    runs: Sequence[Run], listed_runs: dict[str, ListedRun], attempts: dict[str, Fingerprint]
) -> dict[str, RunStatus]:
    """Read runs; remember those that have ended for good, as their files alone say."""
    entries = {}
    for run, seen in zip(runs, look([run.paths for run in runs]), strict=True):
        folder = str(run.paths.root)
        text = score(run.paths, seen.status, seen.evidence)
        entries[folder] = RunStatus(run.name, folder, seen.status, text)
        listed_run = listed_runs[folder]
        if listed_run.index is not None and attempts[folder].is_settled() and has_ended(seen):
            row = Row(listed_run.created, False, attempts[folder], seen.status, text)
            listed_run.index.add(listed_run.key, row)
    return entries


def has_ended(seen: Look) -> bool:
    """Whether a run has ended for good, whatever SLURM says, and its files are whole.

    What SLURM alone says of a run changes when the run is cancelled, and no file that a row
    depends on. Of the result, the trainer writes a part, and launch the rest.
    """
    result = seen.evidence.result
    return seen.by_files and seen.status.final and (result is None or result.is_complete)


def _runs_of(index: Index) -> Iterator[ListedRun]:
    """The runs of one runs_root."""
    keys = set()
    for key in _keys(index):
        folder = f"{index.root}/{key}"
        row = index.rows.get(key)
        if row is None:
            try:
                created = Run(folder).created()
            except RunError:
                continue  # removed meanwhile
            row = Row(created, is_sweep=os.path.exists(f"{folder}/{SWEEP}"))
            if is_settled(created):  # a sweep that is being made has no sweep.json yet
                index.add(key, row)
        keys.add(key)
        yield ListedRun(folder, row.created, row.is_sweep, key, index)
    index.keep_only(keys)


def _keys(index: Index) -> Iterator[str]:
    """The paths of the runs of a runs_root, relative to it."""
    for name in _folders(index.root):
        if name in index.rows or _is_moved_run(f"{index.root}/{name}"):
            yield name
            continue
        for run_id in _folders(index.root / name):
            key = f"{name}/{run_id}"
            if key in index.rows or os.path.exists(f"{index.root}/{key}/manifest.json"):
                yield key


def _is_moved_run(folder: str) -> bool:
    files = ("plan.json", "manifest.json")
    return all(os.path.exists(f"{folder}/{file}") for file in files)


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder that are not hidden; none if it cannot be read."""
    names = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir():
                names.append(entry.name)
    return names
