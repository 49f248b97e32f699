"""What can be removed of a sweep's trials that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpcdl.contract import run_files
from hpcdl.run import Run
from hpcdl.run.cleaning import (
    KINDS,
    Removal,
    size_of,
    sizes_by_kind,
    spare_files,
    why_not_ours,
)
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.keeping import best_numbers
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState


def sweep_removal(run: Run, kinds: Sequence[str]) -> Removal:
    """Find out what can be removed of a sweep: files of some kinds, never all of it.

    Args:
        run: the sweep, as the run that it looks like.
        kinds: some of `KINDS`; none to see its sizes.

    Raises:
        HpcdlError: sweep.json cannot be used.
        OSError: the tasks' logs cannot be read.
    """
    paths = SweepPaths(run.paths.root)
    kept = why_not_ours(run.paths.root)
    places: list[Path] = []
    if kinds and not kept:
        places = spare_files_of_trials(paths, kinds)
    size_bytes = sum(size_of(place) for place in places)
    if not kinds:
        size_bytes = size_of(run.paths.root)
        kept = kept or "it is a sweep: --kind removes parts of it"
    return Removal(run, "sweep", tuple(places), size_bytes, sizes_of_trials(paths), kept)


def sizes_of_trials(paths: SweepPaths) -> dict[str, int]:
    """How much disk the files of each kind of all trials use, in bytes."""
    total = dict.fromkeys(KINDS, 0)
    for number in paths.claimed_numbers():
        for kind, size_bytes in sizes_by_kind(paths.trial_run(number)).items():
            total[kind] += size_bytes
    return total


def spare_files_of_trials(paths: SweepPaths, kinds: Sequence[str]) -> list[Path]:
    """The files of these kinds that trials which have ended can do without.

    Of a trial that is done, or was pruned, all checkpoints go: it has ended for good. The models
    of the best `keep` trials stay. A trial that runs, or that is offered again, is left alone.

    Raises:
        HpcdlError: sweep.json cannot be used.
        OSError: the tasks' logs cannot be read.
    """
    settings = SweepSettings.read(paths)
    state = SweepState()
    state.refresh(paths)
    best = best_numbers(state, settings, settings.keep)
    offered = {*paths.offered_numbers(), *(number for number, _ in paths.taken_offers())}
    spare: list[Path] = []
    for number, trial in state.trials.items():
        if not state.has_ended(number) or number in offered:
            continue
        run = paths.trial_run(number)
        for kind in kinds:
            spare += spare_files(run, kind, trial.state)
        for_good = trial.state in ("done", "pruned")
        if "checkpoints" in kinds and for_good and run.checkpoints.is_dir():
            spare.append(run.checkpoints)
        model = run.root / run_files.MODEL
        if "models" in kinds and for_good and number not in best and model.is_dir():
            spare.append(model)
    return spare
