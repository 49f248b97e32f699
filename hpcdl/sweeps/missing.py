"""Events that the tasks' logs lack, made again from the trials' own files, which are the truth."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from hpcdl.errors import RunError
from hpcdl.files import read_json
from hpcdl.sweeps.events import Claimed, Ended, Event, end_of_result
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState


class TrialFile(msgspec.Struct):
    """The content of a trial.json.

    Args:
        number: the trial's.
        params: it runs with.
        task: the key of the task that has it.
        turn: as in `Claimed`.
        knew: the trials that the suggestion knew, as `knowledge.knew_of` gives them.
        sampler: what made the suggestion, with its version.
    """

    number: int
    params: dict[str, Any]
    task: str
    turn: int
    knew: dict[str, str] = {}
    sampler: str = ""


def read_trial(paths: SweepPaths, number: int) -> TrialFile | None:
    """A trial's trial.json; None if it is missing or damaged."""
    try:
        return msgspec.convert(read_json(paths.trial_file(number)), TrialFile)
    except msgspec.ValidationError:
        return None


def read_end(paths: SweepPaths, claimed: Claimed) -> Ended | None:
    """The end of a trial by its result.json; None if it has not ended."""
    path = paths.result(claimed.trial)
    result = read_json(path)
    if result is None:
        return None
    return end_of_result(result, claimed, path.stat().st_mtime)


def whole_state(paths: SweepPaths) -> SweepState:
    """What the logs of a sweep say, and the trials' own files where the logs say nothing.

    What the logs say is kept, so that the next look reads only what is new.

    Raises:
        OSError: the folder cannot be read.
    """
    state = SweepState.load_index(paths)
    if state.refresh(paths):
        with suppress(OSError):  # somebody else's sweep: the next look is slower
            state.save_index(paths)
    _remove_foreign(paths, state)
    for event in missing_events(paths, state):
        state.add(event)
    return state


def _remove_foreign(paths: SweepPaths, state: SweepState) -> None:
    """Take out the trials of another sweep, whose log somebody copied among this one's."""
    try:
        keys = set(SweepSettings.read(paths).over)
    except RunError:
        return  # whoever needs the settings says what is wrong with them
    for number, trial in list(state.trials.items()):
        if set(trial.params) != keys:
            del state.trials[number]


def missing_events(paths: SweepPaths, state: SweepState) -> list[Event]:
    """The claims and ends that the logs do not show, for `SweepState.add`.

    Args:
        paths: the sweep's.
        state: the fold of its logs; it stays as it is.

    Raises:
        OSError: the folder cannot be read.
    """
    events: list[Event] = []
    for number in sorted({*paths.claimed_numbers(), *paths.trial_numbers()}):
        if state.has_ended(number):
            continue
        claimed = _claim_of(paths, state, number)
        if claimed is None:
            continue  # its task has not come further than the claim
        if number not in state.trials:
            events.append(claimed)
        ended = read_end(paths, claimed)
        if ended is not None:
            events.append(ended)
    return events


def _claim_of(paths: SweepPaths, state: SweepState, number: int) -> Claimed | None:
    trial = state.trials.get(number)
    if trial is not None:
        claimed_at = trial.claimed_at or 0.0
        return Claimed(number, trial.params, trial.task, trial.turn, claimed_at)
    on_disk = read_trial(paths, number)
    if on_disk is None:
        return None
    claimed_at = paths.trial_file(number).stat().st_mtime
    return Claimed(number, on_disk.params, on_disk.task, on_disk.turn, claimed_at)
