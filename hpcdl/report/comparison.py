"""Several runs side by side: what came out of each, and which keys of their jobs differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.report import facts as run_facts
from hpcdl.report import words
from hpcdl.report.facts import Facts
from hpcdl.report.fit import best_epoch
from hpcdl.run import Run


@dataclass(frozen=True)
class Row:
    """One fact of all runs: raw values for programs, texts for people, the places of the best, if one is best."""

    key: str
    name: str
    values: list[Any]
    texts: list[str]
    best: set[int]


@dataclass(frozen=True)
class Comparison:
    """Runs, how they are called in the table, their facts, and by key the values of the jobs that differ."""

    runs: list[Facts]
    labels: list[str]
    rows: list[Row]
    differences: dict[str, list[Any]]


def _in(section: str, key: str) -> Callable[[Facts], Any]:
    return lambda one: one.section(section).get(key)


_ROWS: tuple[tuple[str, str, Callable[[Facts], Any], Callable[[Any], str], Callable[..., Any] | None], ...] = (
    ("state", "state", lambda one: one.status.state, str, None),
    ("test_accuracy", "test accuracy", _in("test", "accuracy"), words.percent, max),
    ("validation_accuracy", "best validation", lambda one: _best_validation(one), words.percent, max),
    ("best_epoch", "best epoch", lambda one: (best_epoch(one.epochs, one.result.get("best")) or [None])[0], str, None),
    ("epochs", "epochs", lambda one: len(one.epochs) or None, str, None),
    ("parameters", "parameters", _in("model", "parameters"), words.count, min),
    ("trainable_parameters", "trainable", _in("model", "trainable_parameters"), words.count, None),
    ("depth", "depth", _in("model", "depth"), lambda depth: words.several(depth, "layer"), None),
    ("per_epoch_s", "an epoch", _in("timing", "per_epoch_s"), words.seconds, min),
    ("images_per_s", "images/s", _in("timing", "images_per_s"), lambda n: f"{n:,.0f}", max),
    ("total_s", "in all", lambda one: one.total_s, words.seconds, min),
    ("gpu_hours", "GPU hours", lambda one: one.gpu_hours, lambda hours: f"{hours:.3f}", None),
    ("attempts", "attempts", lambda one: len(one.ends) or None, str, None),
    ("devices", "devices", lambda one: one.devices, str, None),
    ("tensorflow", "TensorFlow", _in("versions", "tensorflow"), str, None),
)  # fmt: skip

_OF_FOLDS = {"test_accuracy": "test", "validation_accuracy": "validation"}  # means of a cross-validation


def compare(runs: Sequence[Run]) -> Comparison:
    """Read runs and lay them side by side. What none of them has makes no row."""
    read = [run_facts.read(run) for run in runs]
    rows = []
    for key, name, value_of, show, choose in _ROWS:
        values = [value_of(one) for one in read]
        known = [value for value in values if value is not None]
        if known:
            best = {n for n, value in enumerate(values) if choose and value is not None and value == choose(known)}
            texts = [
                "–" if value is None else _text(key, show, one, value) for one, value in zip(read, values, strict=True)
            ]
            rows.append(Row(key, name, values, texts, best if len(set(known)) > 1 else set()))
    return Comparison(read, _labels(read), rows, differences([one.job for one in read]))


def _text(key: str, show: Callable[[Any], str], one: Facts, value: Any) -> str:
    part = _OF_FOLDS.get(key)
    return words.with_deviation(show, one.result, part) if part and "cross_validation" in one.result else show(value)


def differences(jobs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys, dotted, whose values are not the same in all jobs; None where a job lacks one.

    The job's name is no setting.
    """
    flat = [_flatten(job) for job in jobs]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = {key: [one.get(key) for one in flat] for key in keys if key != "name"}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _flatten(section: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{before}{key}."))
        else:
            flat[f"{before}{key}"] = value
    return flat


def _labels(runs: Sequence[Facts]) -> list[str]:
    """The names, where they tell the runs apart; else with the last letters of the id."""
    names = [one.name for one in runs]
    return [one.name if names.count(one.name) == 1 else f"{one.name}/…{one.id[-4:]}" for one in runs]


def _best_validation(one: Facts) -> float | None:
    if one.folds:
        return one.section("validation").get("accuracy")  # the mean of all folds
    known = [line["val_accuracy"] for line in one.epochs if isinstance(line.get("val_accuracy"), float)]
    return max(known, default=None)
