"""What a trial has reached: the metric's value, by its own files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from hpcdl.run import records
from hpcdl.run.metrics import read_metrics
from hpcdl.run.paths import RunPaths
from hpcdl.run.result import result_as_written
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.space import LARGEST


@dataclass(frozen=True)
class Objective:
    """What a trial has reached.

    Args:
        is_reported: whether the metric is among those that the trial wrote.
        value: of the metric; None if it was never a finite number.
        epoch: of that value, from 1; None of a script that does not number them.
        epochs: how many it has trained.
        reported: the names of the metrics that it wrote.
    """

    is_reported: bool
    value: float | None = None
    epoch: int | None = None
    epochs: int = 0
    reported: tuple[str, ...] = ()


def objective_of(settings: SweepSettings, paths: RunPaths) -> Objective:
    """What a trial has reached by its metrics.jsonl; of a cross-validation by its result.json."""
    if paths.folds():
        return _of_folds(settings, paths)
    rows = metric_rows(paths)
    reported = _names(rows)
    values = []
    for row in rows:
        value = row.get(settings.metric)
        if is_finite(value):
            values.append((float(value), _epoch(row)))
    epochs = len([row for row in rows if _epoch(row) is not None])
    is_reported = settings.metric in reported
    if not values:
        return Objective(is_reported, epochs=epochs, reported=reported)
    value, epoch = values[-1] if settings.last else _best(settings, values)
    return Objective(True, value, epoch, epochs, reported)


def metric_rows(paths: RunPaths) -> Sequence[dict[str, Any]]:
    """The lines of a trial's metrics.jsonl, with what could be used of them."""
    if paths.spec.exists():
        return records.epochs(paths)
    metrics = read_metrics(paths.metrics)
    return [dict(row) for row in metrics.rows]


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _best(
    settings: SweepSettings, values: Sequence[tuple[float, int | None]]
) -> tuple[float, int | None]:
    """The best value and its epoch; of equal values the first."""
    best = values[0]
    for candidate in values[1:]:
        if settings.direction == "maximize":
            is_better = candidate[0] > best[0]
        else:
            is_better = candidate[0] < best[0]
        if is_better:
            best = candidate
    return best


def _of_folds(settings: SweepSettings, paths: RunPaths) -> Objective:
    """The mean over the folds, which hpcdl's trainer writes when all of them have ended."""
    result = result_as_written(paths) or {}
    mean = result.get("cross_validation", {}).get("mean", {})
    part, name = "test", settings.metric
    if name.startswith("val_"):
        part, name = "validation", name.removeprefix("val_")
    scores = mean.get(part, {})
    reported = []
    for score in mean.get("validation", {}):
        if score != "rows":
            reported.append(f"val_{score}")
    epochs = 0
    for fold in paths.folds():
        epochs += len(records.epochs(fold))
    value = scores.get(name)
    if not is_finite(value):
        return Objective(name in scores, epochs=epochs, reported=tuple(reported))
    return Objective(True, float(value), None, epochs, tuple(reported))


def _names(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for row in rows:
        for name in row:
            if name not in ("epoch", "step", "seconds", "fold"):
                names[name] = None
    return tuple(names)


def _epoch(row: dict[str, Any]) -> int | None:
    """The number of an epoch; None if a script wrote something that cannot be one, such as -1."""
    epoch = row.get("epoch")
    if not is_finite(epoch) or not 0 <= epoch < LARGEST:
        return None
    return int(epoch)
