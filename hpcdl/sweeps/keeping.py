"""Which files of trials that have ended stay: the models of the best ones only."""

from __future__ import annotations

import shutil

from hpcdl.run.paths import RunPaths
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState

_AT_ONCE = 32  # trials that may end at the same moment and push others out


def remove_state(paths: RunPaths) -> None:
    """Remove what only a trial that goes on needs. A failed one keeps it: `retry` goes on with it.

    Raises:
        OSError: a file cannot be removed.
    """
    from hpcdl.run import states
    from hpcdl.run.result import Result

    result = Result.read(paths)
    if result is None or result.state not in (states.DONE, states.PRUNED):
        return
    paths.stop.unlink(missing_ok=True)
    paths.heartbeat.unlink(missing_ok=True)
    shutil.rmtree(paths.noise_log(1).parent, ignore_errors=True)
    for part in (paths, *paths.folds()):
        shutil.rmtree(part.checkpoints, ignore_errors=True)
        part.heartbeat.unlink(missing_ok=True)


def best_numbers(state: SweepState, settings: SweepSettings, count: int) -> list[int]:
    """The numbers of the best trials that are done, the best first; of equal ones the first.

    Args:
        state: the fold of the tasks' logs.
        settings: the sweep's.
        count: how many at most.
    """
    ranked = []
    for trial in state.trials.values():
        score = settings.score(trial.value)
        if trial.state == "done" and score is not None:
            ranked.append((-score, trial.number))
    ranked.sort()
    return [number for _, number in ranked[:count]]


def keep_best(paths: SweepPaths, state: SweepState, settings: SweepSettings, number: int) -> None:
    """Remove what a trial that has just ended, and those that it has pushed out, need not keep.

    Args:
        paths: the sweep's.
        state: the fold of the tasks' logs.
        settings: the sweep's.
        number: the trial that has ended.

    Raises:
        OSError: a file cannot be removed.
    """
    ranked = best_numbers(state, settings, settings.keep + _AT_ONCE)
    for other in ranked[settings.keep :]:
        _remove_model(paths.trial_run(other))
    if number not in ranked and state.has_ended(number) and state.trials[number].state != "failed":
        _remove_model(paths.trial_run(number))


def _remove_model(paths: RunPaths) -> None:
    shutil.rmtree(paths.model, ignore_errors=True)
    shutil.rmtree(paths.export, ignore_errors=True)
    paths.predictions.unlink(missing_ok=True)
