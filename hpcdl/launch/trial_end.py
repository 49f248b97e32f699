"""What the end of an attempt means for a sweep's trial: its value of the metric, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcdl.files import read_json, write_json
from hpcdl.run import records, states
from hpcdl.run.causes import Outcome
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent
from hpcdl.run.result import Result
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.objective import Objective, objective_of
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState


def judged(outcome: Outcome, objective: Objective, settings: SweepSettings) -> Outcome:
    """The outcome of a trial: one that is done without a word about the metric has failed.

    Args:
        outcome: of its last attempt.
        objective: what it has reached.
        settings: the sweep's.
    """
    is_done_without = outcome.state == states.DONE and not objective.is_reported
    was_stopped = outcome.state == states.FAILED and outcome.cause == "spec"
    if not is_done_without and not (was_stopped and _lacks_metric(objective)):
        return outcome
    reported = ", ".join(objective.reported) or "nothing"
    message = (
        f"the trial does not report the sweep's metric {settings.metric}; it reports {reported}"
    )
    return Outcome(states.FAILED, "spec", message)


def end_keys(
    objective: Objective,
    outcome: Outcome,
    events: Sequence[AttemptEvent],
    paths: RunPaths,
    lacks_metric: bool = False,
) -> dict[str, Any]:
    """What result.json tells of a trial besides what it tells of every run.

    Args:
        objective: what it has reached.
        outcome: how it ended.
        events: the lines of attempts.jsonl.
        paths: the trial's.
        lacks_metric: whether it has failed because it does not report the metric.
    """
    seconds = sum(event.seconds or 0.0 for event in events if event.is_end)
    keys: dict[str, Any] = {
        "value": objective.value,
        "epoch": objective.epoch,
        "epochs": objective.epochs,
        "seconds": round(seconds, 3),
    }
    if lacks_metric:
        keys["objective"] = states.NO_METRIC
    if outcome.state == states.PRUNED:
        keys["pruned_at"] = (read_json(paths.stop) or {}).get("rung")
    return keys


def write_failed(paths: RunPaths, settings: SweepSettings, cause: str, message: str) -> None:
    """Write the result of a trial that has failed without the end of an attempt.

    Args:
        paths: the trial's.
        settings: the sweep's.
        cause: why, as one of the causes of a run.
        message: why, in words.

    Raises:
        OSError: it cannot be written.
    """
    events = records.read_attempts(paths)
    keys = end_keys(objective_of(settings, paths), Outcome(states.FAILED, cause), events, paths)
    of_run = {"schema_version": 1, "name": settings.name, "state": states.FAILED, "attempts": []}
    write_json(paths.result, {**of_run, **keys, "cause": cause, "message": message, "value": None})


def lacking_metric(paths: SweepPaths, state: SweepState, count: int) -> str | None:
    """What the last trials say that have ended, if none of them reports the metric; else None.

    Args:
        paths: the sweep's.
        state: the fold of its logs.
        count: how many trials are looked at.
    """
    ended = []
    for trial in state.trials.values():
        if trial.ended_at is not None:
            ended.append((trial.ended_at, trial.number))
    message = None
    for _, number in sorted(ended)[-count:]:
        result = Result.read(paths.trial_run(number))
        if result is None or result.keys.get("objective") != states.NO_METRIC:
            return None
        message = result.message
    return message if len(ended) >= count else None


def _lacks_metric(objective: Objective) -> bool:
    """Whether it has reported something, but not the metric."""
    return not objective.is_reported and bool(objective.reported)
