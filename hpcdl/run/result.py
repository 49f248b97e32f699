"""result.json as a record: how a run ended, with its scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpcdl.files import read_json
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


_EXPLAINED = kinds.object_with(
    {"method": kinds.text, "images": kinds.whole},
    {
        "fall": kinds.finite,
        "random_fall": kinds.finite,
        "seconds": kinds.amount,
        "left_out": kinds.whole,
        "layer": kinds.text,
        "gap": kinds.finite,
        "side": kinds.finite,
        "problem": kinds.text,
    },
)
_ATTACKED = kinds.object_with(
    {
        "rows": kinds.whole,
        "by_epsilon": kinds.list_of(
            kinds.object_with({"epsilon": kinds.finite, "fgsm": kinds.finite, "pgd": kinds.finite})
        ),
    },
    {
        "accuracy": kinds.finite,
        "pgd_steps": kinds.whole,
        "seconds": kinds.amount,
        "problem": kinds.text,
    },
)
_NO_METRICS = {"explain": _EXPLAINED, "attack": _ATTACKED}  # what a test has besides


def _test(value: Any) -> Record:
    """The metrics of a test by name, and what was asked of the model besides."""
    metrics: Record = kinds.each(kinds.or_none(kinds.finite))(value)
    for name, kind in _NO_METRICS.items():
        part = kinds.usable(value.get(name), kind)
        if part is not None:
            metrics[name] = part
    return metrics


# Of a prediction; `hpcdl.report.drift` tells what it means
_DRIFT = kinds.object_with(
    {
        "changed": kinds.flag,
        "what": kinds.list_of(kinds.text),
        "p": kinds.finite,
        "psi": kinds.finite,
        "confidence": kinds.object_with({"new": kinds.finite, "test": kinds.finite}),
        "likely_worse": kinds.or_none(kinds.flag),
        "rows": kinds.object_with({"new": kinds.whole, "test": kinds.whole}),
    },
    {"outside": kinds.or_none(kinds.finite)},
)
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
        "progress": kinds.object_with(
            {}, {"epochs": kinds.whole, "fold": kinds.whole, "folds": kinds.whole}
        ),
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
        "test": _test,
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
        "export": kinds.list_of(kinds.object_with({"kind": kinds.text}, {"why": kinds.text})),
        "images": kinds.whole,
        "unusable": kinds.whole,
        "images_per_s": kinds.amount,
        "folder": kinds.text,
        "runs": kinds.list_of(kinds.text),
        "answers": kinds.each(kinds.whole),
        "explain": kinds.or_none(_EXPLAINED),
        "drift": kinds.or_none(_DRIFT),
        "drift_problem": kinds.text,
    },
)


@dataclass(frozen=True)
class Result:
    """How a run ended (result.json).

    Args:
        state: done, failed, cancelled or lost.
        cause: of a failure.
        message: of a failure, in a sentence.
        is_complete: whether launch has completed it; the trainer writes a part.
        keys: all keys of the file that can be used.
    """

    state: str
    cause: str | None = None
    message: str | None = None
    is_complete: bool = False
    keys: Record = field(default_factory=dict)

    @classmethod
    def read(cls, paths: RunPaths) -> Result | None:
        """Read result.json; None if it is missing, or has no state."""
        value = read_json(paths.result)
        keys = None if value is None else kinds.usable(value, _RESULT)
        if value is None or keys is None:
            return None
        cause, message = keys.get("cause"), keys.get("message")
        return cls(keys["state"], cause, message, "attempts" in value, keys)


def result_as_written(paths: RunPaths) -> Record | None:
    """All of result.json, also what cannot be used: launch completes the trainer's file."""
    return read_json(paths.result)
