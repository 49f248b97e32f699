"""Reads the JSON files of a run folder, and leaves out what is damaged in them.

A key whose value is of the wrong kind is as good as a missing one; a section that lacks what every
reader needs of it is as good as none. So no command has to expect a text where a number belongs.
Keys that are not named here stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcdl.files import read_json, read_json_lines
from hpcdl.run import kinds
from hpcdl.run.kinds import Record
from hpcdl.run.paths import RunPaths


def _cross_validation(value: Any) -> Record:
    """The folds and their mean, as `hpcdl.contract.fold_table` lays them out."""
    scores = kinds.object_with({}, {"rows": kinds.whole})
    both = kinds.object_with({"validation": scores, "test": scores})
    fold = kinds.object_with(
        {"fold": kinds.whole, "epochs_run": kinds.whole, "validation": scores, "test": scores}
    )
    usable: Record = kinds.object_with(
        {"mean": both, "deviation": both, "folds": kinds.list_of(fold)}
    )(value)
    parts = [usable["mean"], usable["deviation"], *usable["folds"]]
    for part in ("validation", "test"):
        for metric in usable["mean"][part]:
            for scored in parts:
                if metric not in scored[part]:
                    raise kinds.UnusableError
                kinds.or_none(kinds.finite)(scored[part][metric])
    return usable


_FILE = kinds.object_with(
    {},
    {
        "path": kinds.text,
        "sha256": kinds.text,
        "listing_sha256": kinds.text,
        "files": kinds.whole,
        "bytes": kinds.amount,
    },
)
_SUBMITTED = kinds.object_with(
    {},
    {
        "backend": kinds.text,
        "job_id": kinds.or_none(kinds.text),
        "job_ids": kinds.list_of(kinds.text),
        "time": kinds.moment,
        "sent": kinds.moment,
        "host": kinds.text,
        "pid": kinds.whole,
        "pid_start": kinds.or_none(kinds.text),
    },
)
_ATTEMPT = kinds.object_with(
    {"event": kinds.event},
    {
        "attempt": kinds.whole,
        "job_id": kinds.or_none(kinds.text),
        "node": kinds.or_none(kinds.text),
        "reason": kinds.text,
        "time": kinds.moment,
        "seconds": kinds.or_none(kinds.amount),
        "steps": kinds.or_none(kinds.whole),
        "from_step": kinds.or_none(kinds.whole),
        "images": kinds.or_none(kinds.whole),
        "from_images": kinds.or_none(kinds.whole),
        "peak_memory_gb": kinds.or_none(kinds.amount),
        "pid": kinds.whole,
        "pid_start": kinds.or_none(kinds.text),
    },
)
_HEARTBEAT = kinds.object_with(
    {},
    {
        "phase": kinds.text,
        "time": kinds.moment,
        "epoch": kinds.or_none(kinds.whole),
        "epochs": kinds.or_none(kinds.whole),
        "step": kinds.or_none(kinds.whole),
        "steps": kinds.or_none(kinds.whole),
        "steps_per_epoch": kinds.or_none(kinds.whole),
        "fold": kinds.or_none(kinds.whole),
        "folds": kinds.or_none(kinds.whole),
        "saved_images": kinds.or_none(kinds.whole),
    },
)
_MANIFEST = kinds.object_with(
    {},
    {
        "created": kinds.moment,
        "command_line": kinds.list_of(kinds.text),
        "git_commit": kinds.text,
        "image": _FILE,
        "data": _FILE,
        "code": kinds.object_with({"folder": kinds.text}),
    },
)
_PLAN = kinds.object_with(
    {},
    {
        "name": kinds.text,
        "cluster": kinds.text,
        "script": kinds.text,
        "gpus": kinds.whole,
        "requeue": kinds.flag,
        "max_requeues": kinds.whole,
        "min_poll_s": kinds.amount,
        "directives": kinds.list_of(kinds.list_of(kinds.anything, 2)),  # option and value
    },
)
_SPEC = kinds.object_with(
    {},
    {"train": kinds.object_with({}), "data": kinds.object_with({}), "model": kinds.object_with({})},
)
_INPUT = kinds.object_with(
    {"shape": kinds.list_of(kinds.whole, 3), "range": kinds.list_of(kinds.finite, 2)}
)
_MODEL = kinds.object_with(
    {"name": kinds.text, "parameters": kinds.whole, "trainable_parameters": kinds.whole},
    {
        "file": kinds.text,
        "depth": kinds.whole,
        "fold": kinds.whole,
        "input": _INPUT,
        "output": kinds.text,
        "needs": kinds.list_of(kinds.text),
    },
)


def _model(value: Any) -> Record:
    """The saved model; what it takes says nothing without its file."""
    usable: Record = _MODEL(value)
    if "file" not in usable:
        usable.pop("input", None)
    return usable


_RESULT = kinds.object_with(
    {"state": kinds.state},
    {
        "name": kinds.text,
        "cause": kinds.or_none(kinds.text),
        "message": kinds.or_none(kinds.text),
        "hint": kinds.or_none(kinds.text),
        "lines": kinds.list_of(
            kinds.object_with({"file": kinds.text, "line": kinds.whole, "text": kinds.text})
        ),
        "warnings": kinds.list_of(kinds.text),
        "epochs_run": kinds.whole,
        "seed": kinds.whole,
        "model": _model,
        "data": kinds.object_with(
            {
                "rows_train": kinds.whole,
                "rows_validation": kinds.whole,
                "rows_test": kinds.whole,
                "image_shape": kinds.list_of(kinds.whole),
                "classes": kinds.class_count,
            },
            {"path": kinds.text, "class_names": kinds.or_none(kinds.list_of(kinds.text))},
        ),
        "devices": kinds.object_with(
            {"names": kinds.list_of(kinds.text), "replicas": kinds.whole, "strategy": kinds.text}
        ),
        "test": kinds.each(kinds.or_none(kinds.finite)),
        "validation": kinds.or_none(kinds.each(kinds.or_none(kinds.finite))),
        "best": kinds.or_none(
            kinds.object_with({"epoch": kinds.whole, "monitor": kinds.text, "value": kinds.finite})
        ),
        "timing": kinds.each(kinds.amount),
        "versions": kinds.each(kinds.text),
        "cluster": kinds.object_with({}, {"name": kinds.text, "backend": kinds.text}),
        "script": kinds.object_with({}, {"file": kinds.text, "args": kinds.list_of(kinds.text)}),
        "metrics": kinds.each(kinds.or_none(kinds.finite)),
        "metrics_problems": kinds.list_of(kinds.text),
        "attempts": kinds.list_of(
            kinds.object_with(
                {"attempt": kinds.whole},
                {"reason": kinds.or_none(kinds.text), "node": kinds.or_none(kinds.text)},
            )
        ),
        "cross_validation": _cross_validation,
    },
)
_EPOCH = kinds.object_with({"epoch": kinds.whole}, {"fold": kinds.whole, "seconds": kinds.amount})


def submitted(paths: RunPaths) -> Record | None:
    """Where and when the run was sent (submitted.json); None where it was not."""
    return _read(paths.submitted, _SUBMITTED)


def heartbeat(paths: RunPaths) -> Record:
    """Where the trainer was last (heartbeat.json)."""
    return _read(paths.heartbeat, _HEARTBEAT) or {}


def manifest(paths: RunPaths) -> Record:
    """What the run was made from (manifest.json)."""
    return _read(paths.manifest, _MANIFEST) or {}


def plan(paths: RunPaths) -> Record:
    """The plan, for commands that need a few keys of it; `launch.program` reads it whole."""
    return _read(paths.plan, _PLAN) or {}


def spec(paths: RunPaths) -> Record:
    """The trainer's settings (run.json), with each section that is there as an object."""
    return _read(paths.spec, _SPEC) or {}


def result(paths: RunPaths) -> Record | None:
    """What came out (result.json); None where there is nothing, or no state in it."""
    return _read(paths.result, _RESULT)


def attempts(paths: RunPaths) -> list[Record]:
    """The lines of attempts.jsonl, each with its ``attempt``: the count of starts where it lacks."""
    rows = []
    started = 0
    for line in read_json_lines(paths.attempts):
        row = _usable(line, _ATTEMPT)
        if row is None:
            continue
        started += row["event"] == "start"
        if row["event"] != "resumed":
            row.setdefault("attempt", started)
        rows.append(row)
    return rows


def epochs(paths: RunPaths) -> list[Record]:
    """The epochs that a training wrote (metrics.jsonl): numbers by name, NaN and None among them."""
    rows = []
    numbers = kinds.each(kinds.or_none(kinds.number))
    for line in read_json_lines(paths.metrics):
        row = _usable(line, _EPOCH)
        if row is not None:
            rows.append(numbers(row))
    return rows


def _read(path: Path, kind: kinds.Kind) -> Record | None:
    value = read_json(path)
    return None if value is None else _usable(value, kind)


def _usable(value: Record, kind: kinds.Kind) -> Record | None:
    try:
        usable: Record = kind(value)
    except kinds.UnusableError:
        return None
    return usable
