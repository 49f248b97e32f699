"""A run's epochs, of all its folds, or the last ones of a script."""

from __future__ import annotations

from typing import Any

from hpcdl.run import records
from hpcdl.run.metrics import GLANCE_BYTES, read_metrics
from hpcdl.run.paths import RunPaths


def read_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """The epochs in metrics.jsonl.

    Of a cross-validation these are the epochs of all folds, each with its ``fold``. A script may
    write anything there, and a lot of it: of a script these are the last usable epochs.
    """
    folds = paths.folds()
    if not folds and not paths.spec.exists():
        return _script_epochs(paths)
    if not folds:
        return records.epochs(paths)
    rows = []
    for fold in folds:
        for row in records.epochs(fold):
            rows.append({**row, "fold": int(fold.root.name)})
    return rows


def _script_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """A script's last epochs, the newest at the end; its last line if it has no epochs."""
    metrics = read_metrics(paths.metrics, GLANCE_BYTES)
    newest = metrics.newest
    rows: list[dict[str, Any]] = []
    for row in metrics.rows:
        if "epoch" in row and "step" not in row and row is not newest:
            rows.append(dict(row))
    if newest:
        rows.append(dict(newest))
    return rows
