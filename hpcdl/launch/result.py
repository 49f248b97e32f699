"""Completes result.json with what only the host knows of a run that has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcdl.files import write_json
from hpcdl.planning import Command, Plan, Predict, Script
from hpcdl.report.predicted import drift_keys
from hpcdl.run import states
from hpcdl.run.causes import Outcome
from hpcdl.run.device_summary import summary_of_nodes
from hpcdl.run.hints import COMMAND_HINTS, PREDICTION_HINTS, hint
from hpcdl.run.legacykeras import tf_keras_hint
from hpcdl.run.logs import tail, telling_lines
from hpcdl.run.metrics import read_metrics
from hpcdl.run.missing import missing_file_hint
from hpcdl.run.node_samples import all_samples
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent, Failure, Heartbeat, Manifest, Submitted
from hpcdl.run.result import result_as_written
from hpcdl.run.tracebacks import last_words

_LAST_LINES = 20  # where a traceback ends
# What the list of attempts tells of each
_ATTEMPT_KEYS = (
    "attempt",
    "job_id",
    "node",
    "reason",
    "status",
    "from_step",
    "steps",
    "seconds",
    "peak_memory_gb",
)


def finish(
    paths: RunPaths,
    plan: Plan,
    outcome: Outcome,
    events: Sequence[AttemptEvent],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Complete the trainer's result.json; write a new one if it is missing.

    Args:
        paths: the run.
        plan: its plan.
        outcome: how the run ended.
        events: the lines of attempts.jsonl.
        more: keys that a sweep's trial has besides.

    Raises:
        OSError: it cannot be written.
    """
    new_result = {"schema_version": 1, "name": plan.name}
    result: dict[str, Any] = result_as_written(paths) or new_result
    result["state"] = outcome.state
    result["cause"] = outcome.cause
    if outcome.state == states.FAILED:
        _add_failure(result, paths, plan, outcome, events[-1].attempt)
    elif outcome.cause == states.DEPENDENCY:
        result["message"] = outcome.message
    if isinstance(plan.program, Script):
        result["script"] = {"file": plan.program.script, "args": plan.program.args}
        _add_metrics(result, paths)
    if isinstance(plan.program, Command):
        result["command"] = plan.program.words
    if isinstance(plan.program, Predict) and outcome.state == states.DONE:
        result.update(drift_keys(paths))
    ends = {event.attempt: event for event in events if event.is_end}
    result["attempts"] = []
    for number in sorted(ends):
        end = ends[number]
        result["attempts"].append(_row_of(end))
    heartbeat = Heartbeat.read(paths)
    progress = {"epochs": heartbeat.epochs, "fold": heartbeat.fold, "folds": heartbeat.folds}
    if heartbeat.epochs is not None:
        result["progress"] = {key: number for key, number in progress.items() if number is not None}
    submitted = Submitted.read(paths) or Submitted()
    timing = result.setdefault("timing", {})
    first_start = next(event for event in events if event.is_start)
    if more is None and submitted.time is not None and first_start.time is not None:
        timing["queue_s"] = round(max(0.0, first_start.time - submitted.time), 3)
    timing["total_s"] = round(sum(end.seconds or 0.0 for end in ends.values()), 3)
    nodes = all_samples(paths)
    if nodes:
        timing.update(summary_of_nodes(nodes).as_timing())
    result["cluster"] = {
        "name": plan.cluster,
        "backend": submitted.backend,
        "emulate_gpus": plan.size.emulate_gpus,
    }
    result["image"] = Manifest.read(paths).image
    result.update(more or {})
    write_json(paths.result, result)


def _row_of(end: AttemptEvent) -> dict[str, Any]:
    """What the list of attempts tells of one; of several nodes all."""
    row = {key: getattr(end, key) for key in _ATTEMPT_KEYS}
    if end.nodes:
        row["nodes"] = list(end.nodes)
    return row


def _add_failure(
    result: dict[str, Any], paths: RunPaths, plan: Plan, outcome: Outcome, attempt: int
) -> None:
    """Why the run failed, what to try next, and the lines of the log that show it."""
    failure = Failure.read(paths)
    usual_hint = hint(outcome.cause, not plan.program.keeps_state, plan.container is not None)
    if plan.program.on_host:
        usual_hint = COMMAND_HINTS.get(outcome.cause or "", usual_hint)
    if isinstance(plan.program, Predict):
        usual_hint = PREDICTION_HINTS.get(outcome.cause or "", usual_hint)
    log = paths.log(attempt)
    result["message"] = failure.message or _message(log, plan, outcome)
    result["hint"] = failure.hint or _hint_from_log(log, paths, plan) or usual_hint
    result["log"] = str(log.relative_to(paths.root))
    result["lines"] = telling_lines(paths)


def _add_metrics(result: dict[str, Any], paths: RunPaths) -> None:
    """The metrics that the script wrote down, and what of them could not be used."""
    metrics = read_metrics(paths.metrics)
    if metrics.last:
        result["metrics"] = metrics.last
    if metrics.problems:
        result["metrics_problems"] = metrics.problems


def _hint_from_log(log: Path, paths: RunPaths, plan: Plan) -> str | None:
    """What to try if the program's last words name a file or a package that is missing."""
    lines = tail(log).splitlines()[-_LAST_LINES:]
    folder = plan.folder
    if isinstance(plan.program, Script):
        folder = os.path.dirname(os.path.join(plan.folder, plan.program.script))
    env = plan.environment.env
    return missing_file_hint(lines, folder, str(paths.root)) or tf_keras_hint(lines, env)


def _message(log: Path, plan: Plan, outcome: Outcome) -> str | None:
    """The message of a failure: for a script with its last line, most often the exception."""
    if plan.program.keeps_state or not str(outcome.message).startswith("the program ended"):
        return outcome.message
    line = last_words(tail(log))[:200]
    return f"{outcome.message}; its last line: {line}" if line else outcome.message
