"""Several runs side by side: what came out of each, and which keys of their jobs differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hpcdl import formats
from hpcdl.report import facts as run_facts
from hpcdl.report import hidden, metrics
from hpcdl.report.comparable import takes_part, why_not
from hpcdl.report.facts import Facts
from hpcdl.report.overfitting import Line, best_epoch, is_number
from hpcdl.report.settings import differences
from hpcdl.run import Run


@dataclass(frozen=True)
class Row:
    """One fact of all runs.

    values: for programs. texts: for people. best: the places of the best values, if any.
    not_compared: why they cannot be compared, if so.
    """

    key: str
    name: str
    values: list[Any]
    texts: list[str]
    best: set[int]
    not_compared: str = ""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    labels: the runs' names in the table. differences: by key, the values of the jobs that differ.
    notes: sentences on what cannot be compared, and why.
    """

    runs: list[Facts]
    labels: list[str]
    rows: list[Row]
    differences: dict[str, list[Any]]
    notes: list[str]


@dataclass(frozen=True)
class _Measure:
    """How a row is made.

    of: its value of a run. show: the value for people. choose: which of the values is the best.
    kind: what the values depend on, as `why_not` knows it.
    """

    key: str
    name: str
    of: Callable[[Facts], Any]
    show: Callable[[Any], str] = str
    choose: Callable[..., Any] | None = None
    kind: str = ""


def _in(section: str, key: str) -> Callable[[Facts], Any]:
    return lambda run: run.section(section).get(key)


def _tested(metric: str) -> Callable[[Facts], Any]:
    return lambda run: _metric(run, f"test_{metric}")


def _layers(depth: int) -> str:
    return formats.several(depth, "layer")


_MEASURES = (
    _Measure("state", "state", lambda run: run.status.state),
    _Measure("test_accuracy", "test accuracy", _tested("accuracy"), formats.percent, max, "test"),
    _Measure("test_loss", "test loss", _tested("loss"), formats.figure, min, "test_loss"),
    _Measure(
        "validation_accuracy",
        "best validation",
        lambda run: _best_validation(run, "accuracy", max),
        formats.percent,
        max,
        "validation",
    ),
    _Measure(
        "validation_loss",
        "validation loss",
        lambda run: _best_validation(run, "loss", min),
        formats.figure,
        min,
        "validation_loss",
    ),
    _Measure("best_epoch", "best epoch", lambda run: _best_epoch(run)),
    _Measure("tested_epoch", "tested epoch", lambda run: run.tested_epoch),
    _Measure("epochs", "epochs", lambda run: _epochs(run)),
    _Measure("parameters", "parameters", _in("model", "parameters"), formats.count, min),
    _Measure(
        "trainable_parameters",
        "trainable",
        _in("model", "trainable_parameters"),
        formats.count,
    ),
    _Measure("depth", "depth", _in("model", "depth"), _layers),
    _Measure("per_epoch_s", "an epoch", _in("timing", "per_epoch_s"), formats.seconds, min, "time"),
    _Measure(
        "images_per_s",
        "images/s",
        _in("timing", "images_per_s"),
        "{:,.0f}".format,
        max,
        "speed",
    ),
    _Measure("total_s", "in all", lambda run: run.total_s, formats.seconds, min, "time"),
    _Measure("gpu_hours", "GPU hours", lambda run: run.gpu_hours, "{:.3f}".format),
    _Measure("attempts", "attempts", lambda run: len(run.ends) or None),
    _Measure("devices", "devices", lambda run: run.devices),
    _Measure("tensorflow", "TensorFlow", _in("versions", "tensorflow")),
)
_OWN_ROWS = frozenset({"test_accuracy", "test_loss", "val_accuracy", "val_loss"})
_OF_FOLDS = {  # means of a cross-validation
    "test_accuracy": ("test", "accuracy"),
    "test_loss": ("test", "loss"),
    "validation_accuracy": ("validation", "accuracy"),
    "validation_loss": ("validation", "loss"),
}


def compare(runs: Sequence[Run], shows_env: bool = False) -> Comparison:
    """Read runs and lay them side by side. A fact that no run has gets no row.

    Args:
        runs: the runs.
        shows_env: show the values of env and what else is private.
    """
    read = [run_facts.read(run, shows_env) for run in runs]
    rows = []
    for measure in [*_MEASURES[:5], *_further_metrics(read), *_MEASURES[5:]]:
        row = _row(measure, read)
        if row is not None:
            rows.append(row)
    labels = _labels(read)
    differing = differences([run.job for run in read])
    if not shows_env:
        for key, values in differing.items():
            differing[key] = [hidden.setting(key, value) for value in values]
    return Comparison(read, labels, rows, differing, _notes(read, labels, rows))


def _row(measure: _Measure, runs: Sequence[Facts]) -> Row | None:
    values = [measure.of(run) for run in runs]
    if all(value is None for value in values):
        return None
    texts = []
    for run, value in zip(runs, values, strict=True):
        texts.append("–" if value is None else _text(measure, run, value))
    places = []
    for n, value in enumerate(values):
        if is_number(value) and takes_part(runs[n]):
            places.append(n)
    if measure.choose is None or len(places) < 2:
        return Row(measure.key, measure.name, values, texts, set())
    reason = why_not(measure.kind, [runs[n] for n in places])
    best: set[int] = set()
    if not reason:
        best = _best(places, values, texts, measure.choose)
    return Row(measure.key, measure.name, values, texts, best, reason)


def _best(
    places: Sequence[int],
    values: Sequence[Any],
    texts: Sequence[str],
    choose: Callable[..., Any],
) -> set[int]:
    """The places of the best values, those that read alike included; none if all read alike."""
    best = choose(places, key=values.__getitem__)
    alike = {n for n in places if texts[n] == texts[best]}
    return alike if len(alike) < len(places) else set()


def _text(measure: _Measure, run: Facts, value: Any) -> str:
    part, metric = _OF_FOLDS.get(measure.key, ("", ""))
    if part and "cross_validation" in run.result:
        return formats.with_deviation(measure.show, value, run.result, part, metric)
    return measure.show(value)


def _further_metrics(runs: Sequence[Facts]) -> list[_Measure]:
    """Rows for what scripts and a user's own metrics measure beside accuracy and loss."""
    names: dict[str, None] = {}
    for run in runs:
        tested = [f"test_{key}" for key in run.section("test") if key not in ("rows", "epoch")]
        for name in [*run.metrics, *tested]:
            if name not in _OWN_ROWS:
                names[name] = None
    measures = []
    for name in names:
        shown = name.replace("_", " ") if name.startswith("test_") else f"{name} (last)"
        show = partial(metrics.shown, name)
        measures.append(_Measure(f"metrics.{name}", shown, _last(name), show))
    return measures


def _last(name: str) -> Callable[[Facts], Any]:
    return lambda run: _metric(run, name)


def _metric(run: Facts, name: str) -> Any:
    """A metric's last value: of a script by its name, of a training of its test or last epoch."""
    if run.is_script:
        return run.metrics.get(name)
    if name.startswith("test_"):
        return run.section("test").get(name.removeprefix("test_"))
    if run.folds:
        return None
    return metrics.last_values(run.all_epochs).get(name)


def _best_validation(run: Facts, metric: str, choose: Callable[..., Any]) -> float | None:
    if run.folds:
        mean: float | None = run.section("validation").get(metric)  # of all folds
        return mean
    key = f"val_{metric}"
    values = [line[key] for line in run.all_epochs if is_number(line.get(key))]
    return choose(values) if values else None


def _best_epoch(run: Facts) -> int | None:
    best = best_epoch(_epoch_lines(run), run.result.get("best"))
    return best[0] if best else None


def _epochs(run: Facts) -> int | None:
    return len(_epoch_lines(run)) or None


def _epoch_lines(run: Facts) -> list[Line]:
    """The lines that count epochs; a script may count steps as well."""
    return [line for line in run.epochs if metrics.unit_of(line) == "epoch"]


def _notes(runs: Sequence[Facts], labels: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """What is not compared, and why."""
    notes = []
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.not_compared:
            reasons.setdefault(row.not_compared, []).append(row.name)
    for reason, names in reasons.items():
        notes.append(f"{', '.join(names)}: not compared, {reason}")
    scripts = []
    for label, run in zip(labels, runs, strict=True):
        if run.is_script:
            scripts.append(label)
        elif run.status.state != "done":
            notes.append(f"{label} is {run.status.state}: nothing of it is compared")
    if scripts:
        verb = "is a script" if len(scripts) == 1 else "are scripts"
        why = "hpcdl does not know the data and the loss of a script, so nothing of it is compared"
        notes.append(f"{formats.listed(scripts)} {verb}: {why}")
    restored = {run.restored_epoch is not None for run in runs if takes_part(run)}
    if len(restored) > 1:
        notes.append(
            "test accuracy is that of the tested epoch: the best one where early_stopping restores "
            "its weights, else the last"
        )
    return notes


def _labels(runs: Sequence[Facts]) -> list[str]:
    """The runs' names; names that several runs have get the end of the id."""
    names = [run.name for run in runs]
    labels = []
    for run in runs:
        is_unique = names.count(run.name) == 1
        labels.append(run.name if is_unique else f"{run.name}/…{run.id[-4:]}")
    return labels
