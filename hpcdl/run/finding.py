"""Finds runs on the disk: all below some folders, and those that the user's words stand for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hpcdl.errors import NoRunError, RunError, UserError
from hpcdl.run.handle import Run
from hpcdl.run.listing import ListedRun, Listing
from hpcdl.run.paths import SWEEP, TRIALS, TrialPaths, run_paths
from hpcdl.text import hpcdl_command


def runs_below(roots: Sequence[Path]) -> list[Run]:
    """All runs in these folders, oldest first.

    Args:
        roots: runs_roots (a run is two levels below), or folders into which runs were moved (a run
            is one level below).
    """
    return _opened(Listing(roots).runs)


def _opened(listed_runs: Iterable[ListedRun]) -> list[Run]:
    runs = []
    for listed_run in listed_runs:
        with suppress(RunError):  # removed meanwhile
            runs.append(Run(listed_run.folder))
    return runs


def run_at(text: str) -> Run | None:
    """The run whose folder the user gave; None if the text is an id or a name.

    Raises:
        UserError: the text is empty, or a path that is not a run's folder.
    """
    if not text.strip():
        expected = "expected a run's folder or id (is a shell variable not set?)"
        raise UserError(f"there is no run {text!r}: {expected}")
    path = Path(os.path.expanduser(text))
    for folder in (path, _trial_folder(path)):
        if os.path.exists(run_paths(folder.absolute()).manifest):
            _require_begun(text, folder.absolute())
            return Run(folder)
    if os.path.exists(path):
        for parent in path.absolute().parents:
            if os.path.exists(parent / "manifest.json") and os.path.exists(parent / "plan.json"):
                raise UserError(f"{text} lies inside a run; give the run's folder: {parent}")
    if not text.startswith(("/", "./", "../", "~")) and text not in (".", ".."):
        return None
    if not os.path.isdir(path):
        raise NoRunError(f"there is no run folder {text}; hpcdl status lists the runs")
    message = f"{text} is a folder, but not a run's folder (it has no manifest.json)"
    inside = sorted(path.glob("*/manifest.json"))
    if inside:
        message += f"; it holds {len(inside)} runs, such as {inside[-1].parent}"
    raise UserError(message)


def _require_begun(text: str, folder: Path) -> None:
    """Make sure that a trial has a folder, which its task makes."""
    paths = run_paths(folder)
    if isinstance(paths, TrialPaths) and not folder.is_dir():
        sweep = paths.sweep.root
        raise NoRunError(f"{text}: no such trial has begun; see: {hpcdl_command('status', sweep)}")


def find_run(text: str, roots: Sequence[Path]) -> Run:
    """The one run that the user means.

    A whole name or id is tried first, then the beginning, then the end: people remember the last
    letters. ``SWEEP/17`` is a sweep's trial.

    Args:
        text: a path, a run id, a name, or a part of these.
        roots: the folders to look in.

    Raises:
        UserError: no run, or several, fit.
    """
    fitting = find_runs(text, roots)
    require_one(text, [run.name for run in fitting])
    return fitting[0]


def require_one(text: str, names: Sequence[str]) -> None:
    """Make sure that a text means one run.

    Args:
        text: what the user typed.
        names: the runs that fit, oldest first.

    Raises:
        UserError: several fit.
    """
    if len(names) == 1:
        return
    message = f"{text!r} fits {len(names)} runs; say more of it"
    if len(names) > 10:
        message += " (the newest ten, the newest last)"
    lines = "".join(f"\n  {name}" for name in names[-10:])
    raise UserError(f"{message}:{lines}")


def find_runs(text: str, roots: Sequence[Path]) -> list[Run]:
    """All runs that the user may mean, as `find_run` looks for them, oldest first.

    Raises:
        UserError: no run fits.
    """
    run = run_at(text)
    if run is not None:
        return [run]
    return _opened(fitting_runs(text, Listing(roots)))


def fitting_runs(text: str, listing: Listing) -> list[ListedRun]:
    """The runs, sweeps and trials that a text stands for, oldest first; not a path.

    Raises:
        UserError: nothing fits.
    """
    fitting = _fitting(text, listing.runs) or _trials(text, listing.runs)
    if not fitting:
        where = ", ".join(str(root) for root in listing.roots)
        raise NoRunError(f"there is no run {text!r} under {where}; hpcdl status lists them")
    return fitting


def _fitting(text: str, listed_runs: Sequence[ListedRun]) -> list[ListedRun]:
    """The runs that a text stands for, as `fitting_names` looks for them."""
    names = set(fitting_names(text, [run.name for run in listed_runs]))
    return [run for run in listed_runs if run.name in names]


def _trials(text: str, listed_runs: Sequence[ListedRun]) -> list[ListedRun]:
    """The trials that ``SWEEP/17`` stands for."""
    sweep, _, number = text.rpartition("/")
    if not sweep or not number.isdecimal():
        return []
    sweeps = [run for run in listed_runs if run.is_sweep]
    trials = []
    for listed_run in _fitting(sweep, sweeps):
        folder = _trial_folder(listed_run.root / number)
        if folder.is_dir():
            trials.append(ListedRun(str(folder), listed_run.created))
    return trials


def _trial_folder(path: Path) -> Path:
    """The folder of a trial that ``SWEEP/17`` means; any other path as it is."""
    if path.name.isdecimal() and os.path.exists(path.parent / SWEEP):
        return path.parent / TRIALS / f"{int(path.name):05d}"
    return path


def fitting_names(text: str, names: Sequence[str]) -> list[str]:
    """The runs that a text stands for: a whole name or id, else its beginning, else its end.

    Args:
        text: what the user typed.
        names: ``<name>/<run_id>`` of each.
    """
    for fits in (_is_whole, _begins, _ends):
        fitting = [name for name in names if fits(name, text)]
        if fitting:
            return fitting
    return []


def _is_whole(name: str, text: str) -> bool:
    return text == name or text in name.split("/")


def _begins(name: str, text: str) -> bool:
    return name.startswith(text) or name.rpartition("/")[2].startswith(text)


def _ends(name: str, text: str) -> bool:
    return len(text) >= 4 and name.endswith(text)
