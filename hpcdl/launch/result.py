"""Completes result.json on the host: what only the host knows of a run that has ended."""

from __future__ import annotations

import os
from typing import Any

from hpcdl.files import read_json, write_json
from hpcdl.planning import Plan
from hpcdl.run import causes, records
from hpcdl.run.legacykeras import tf_keras_hint
from hpcdl.run.logs import tail, telling_lines
from hpcdl.run.metrics import read_metrics
from hpcdl.run.missing import missing_file_hint
from hpcdl.run.paths import RunPaths
from hpcdl.run.tracebacks import last_words

_LAST_LINES = 20  # where a traceback ends
_TOLD = (
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


def finish(paths: RunPaths, plan: Plan, outcome: causes.Outcome) -> None:
    """Complete what the trainer left in result.json, or write it where there is none."""
    rows = records.attempts(paths)
    result: dict[str, Any] = read_json(paths.result) or {"schema_version": 1, "name": plan.name}
    failure = read_json(paths.failure) or {}
    submitted = read_json(paths.submitted) or {}
    manifest = read_json(paths.manifest) or {}
    result["state"] = outcome.state
    result["cause"] = outcome.cause
    if outcome.state == causes.FAILED:
        result["message"] = failure.get("message") or _last_words(
            paths, plan, rows[-1]["attempt"], outcome
        )
        usual = causes.hint(outcome.cause, plan.script is not None, plan.image is not None)
        result["hint"] = failure.get("hint") or _missing(paths, plan, rows) or usual
        result["log"] = str(paths.log(rows[-1]["attempt"]).relative_to(paths.root))
        result["lines"] = telling_lines(paths)
    if plan.script is not None:
        result["script"] = {"file": plan.script, "args": plan.args}
        _add_metrics(result, paths)
    ends = {row["attempt"]: row for row in rows if row.get("event") == "end"}
    result["attempts"] = [{key: ends[n].get(key) for key in _TOLD} for n in sorted(ends)]
    timing = result.setdefault("timing", {})
    starts = [row["time"] for row in rows if row.get("event") == "start"]
    if "time" in submitted:
        timing["queue_s"] = round(max(0.0, starts[0] - submitted["time"]), 3)
    timing["total_s"] = round(sum(row.get("seconds") or 0.0 for row in ends.values()), 3)
    result["cluster"] = {
        "name": plan.cluster,
        "backend": submitted.get("backend"),
        "emulate_gpus": plan.emulate_gpus,
    }
    result["image"] = manifest.get("image")
    write_json(paths.result, result)


def _add_metrics(result: dict[str, Any], paths: RunPaths) -> None:
    """What the script itself wrote down, and what of that could not be used."""
    metrics = read_metrics(paths.metrics)
    if metrics.last:
        result["metrics"] = metrics.last
    if metrics.problems:
        result["metrics_problems"] = metrics.problems


def _missing(paths: RunPaths, plan: Plan, rows: list[dict[str, Any]]) -> str | None:
    """What to try where the program's last words are of a file or a package that is not there."""
    lines = tail(paths.log(rows[-1]["attempt"])).splitlines()[-_LAST_LINES:]
    folder = plan.folder
    if plan.script is not None:
        folder = os.path.dirname(os.path.join(plan.folder, plan.script))
    return missing_file_hint(lines, folder, str(paths.root)) or tf_keras_hint(lines, plan.env)


def _last_words(paths: RunPaths, plan: Plan, attempt: int, outcome: causes.Outcome) -> str | None:
    """What to say of a failure: for a script also its last line, which is most often the exception."""
    if plan.script is None or not str(outcome.message).startswith("the program ended"):
        return outcome.message
    line = last_words(tail(paths.log(attempt)))[:200]
    return f"{outcome.message}; its last line: {line}" if line else outcome.message
