"""The facts by which runs are compared: how each is read from a run, shown, and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hpcdl import formats
from hpcdl.report import metrics
from hpcdl.report.facts import Facts
from hpcdl.report.overfitting import best_epoch, is_number


@dataclass(frozen=True)
class Measure:
    """One fact of a run.

    key: its name for programs. title: its name for people.
    value: reads it from a run; None if the run does not have it.
    show: the value for people.
    best: ``max`` or ``min``, if one value is better than another.
    kind: what the value depends on, as `hpcdl.report.comparable.why_not` knows it.
    """

    key: str
    title: str
    value: Callable[[Facts], Any]
    show: Callable[[Any], str] = str
    best: Callable[..., Any] | None = None
    kind: str = ""


def _of_section(section: str, key: str) -> Callable[[Facts], Any]:
    """Reads a key of a section of result.json."""
    return lambda run: run.section(section).get(key)


def _metric(name: str) -> Callable[[Facts], Any]:
    """Reads the last value of a metric."""
    return lambda run: last_value(run, name)


def last_value(run: Facts, name: str) -> Any:
    """A metric's last value: of a script by its name, of a training from its test or last epoch."""
    if run.is_script:
        return run.metrics.get(name)
    if name.startswith("test_"):
        return run.section("test").get(name.removeprefix("test_"))
    if run.folds:
        return None
    return metrics.last_values(run.all_epochs).get(name)


def _best_validation(metric: str, best: Callable[..., Any]) -> Callable[[Facts], Any]:
    """Reads the best value of a metric in validation; of a cross-validation the folds' mean."""

    def value(run: Facts) -> Any:
        if run.folds:
            return run.section("validation").get(metric)
        values = []
        for line in run.all_epochs:
            if is_number(line.get(f"val_{metric}")):
                values.append(line[f"val_{metric}"])
        return best(values, default=None)

    return value


def _sweep_value(run: Facts) -> float | None:
    """Reads the value by which a sweep ranks its trial."""
    if not run.params:
        return None
    value: float | None = run.result.get("value")
    return value


def _state(run: Facts) -> str:
    return run.status.state


def _best_epoch(run: Facts) -> int | None:
    best = best_epoch(metrics.counted_in(run.epochs, "epoch"), run.result.get("best"))
    return best[0] if best else None


def _tested_epoch(run: Facts) -> int | None:
    return run.tested_epoch


def _epochs(run: Facts) -> int | None:
    return len(metrics.counted_in(run.epochs, "epoch")) or None


def _total_s(run: Facts) -> float | None:
    return run.total_s


def _gpu_hours(run: Facts) -> float | None:
    return run.gpu_hours


def _attempts(run: Facts) -> int | None:
    return len(run.ends) or None


def _devices(run: Facts) -> str | None:
    return run.devices


def _predicted(key: str) -> Callable[[Facts], Any]:
    """Reads a key of a prediction's result.json."""
    return lambda run: run.result.get(key)


def _verdict(key: str) -> Callable[[Facts], Any]:
    """Reads a verdict of a prediction on its images, as a word."""

    def value(run: Facts) -> str | None:
        section = run.section("drift")
        if key not in section:
            return None
        return {True: "yes", False: "no", None: "nobody can tell"}[section[key]]

    return value


def _layers(depth: int) -> str:
    return formats.several(depth, "layer")


SCORES = (
    Measure("state", "state", _state),
    Measure("sweep_value", "value in the sweep", _sweep_value, formats.metric),
    Measure(
        "test_accuracy",
        "test accuracy",
        _metric("test_accuracy"),
        formats.percent,
        best=max,
        kind="test",
    ),
    Measure(
        "test_loss",
        "test loss",
        _metric("test_loss"),
        formats.figure,
        best=min,
        kind="test_loss",
    ),
    Measure(
        "validation_accuracy",
        "best validation",
        _best_validation("accuracy", max),
        formats.percent,
        best=max,
        kind="validation",
    ),
    Measure(
        "validation_loss",
        "validation loss",
        _best_validation("loss", min),
        formats.figure,
        best=min,
        kind="validation_loss",
    ),
)
# Below the metrics of scripts
OTHERS = (
    Measure("images", "images predicted", _predicted("images"), formats.count),
    Measure("unusable", "unusable files", _predicted("unusable"), formats.count),
    Measure("changed", "changed since the test", _verdict("changed")),
    Measure("likely_worse", "likely worse", _verdict("likely_worse")),
    Measure("best_epoch", "best epoch", _best_epoch),
    Measure("tested_epoch", "tested epoch", _tested_epoch),
    Measure("epochs", "epochs", _epochs),
    Measure(
        "parameters",
        "parameters",
        _of_section("model", "parameters"),
        formats.count,
        best=min,
    ),
    Measure(
        "trainable_parameters",
        "trainable",
        _of_section("model", "trainable_parameters"),
        formats.count,
    ),
    Measure("depth", "depth", _of_section("model", "depth"), _layers),
    Measure(
        "per_epoch_s",
        "an epoch",
        _of_section("timing", "per_epoch_s"),
        formats.seconds,
        best=min,
        kind="time",
    ),
    Measure(
        "images_per_s",
        "images/s",
        _of_section("timing", "images_per_s"),
        "{:,.0f}".format,
        best=max,
        kind="speed",
    ),
    Measure("total_s", "in all", _total_s, formats.seconds, best=min, kind="time"),
    Measure("gpu_hours", "GPU hours", _gpu_hours, "{:.3f}".format),
    Measure("attempts", "attempts", _attempts),
    Measure("devices", "devices", _devices),
    Measure("tensorflow", "TensorFlow", _of_section("versions", "tensorflow")),
)
_IN_SCORES = frozenset({"test_accuracy", "test_loss", "val_accuracy", "val_loss"})
_NO_METRICS = ("rows", "epoch", "explain", "attack")  # keys of the section ``test``


def further_metrics(runs: Sequence[Facts]) -> list[Measure]:
    """Measures for the other metrics of scripts, and for a user's own metrics."""
    names: dict[str, None] = {}  # in the order in which they appear
    for run in runs:
        names.update(dict.fromkeys(run.metrics))
        for key in run.section("test"):
            if key not in _NO_METRICS:
                names[f"test_{key}"] = None
    measures = []
    for name in names:
        if name in _IN_SCORES:
            continue
        title = f"{name} (last)"
        if name.startswith("test_"):
            title = name.replace("_", " ")
        show = partial(metrics.shown, name)
        measures.append(Measure(f"metrics.{name}", title, _metric(name), show))
    return measures
