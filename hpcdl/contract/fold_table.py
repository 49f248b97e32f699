"""The table of a cross-validation: a line for each fold, then their mean and deviation."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

PARTS = ("validation", "test")


def table(result: Dict[str, Any]) -> List[List[str]]:
    """The cells of the table, its header first.

    Args:
        result: ``cross_validation`` of result.json.
    """
    columns = []
    for part in PARTS:
        for metric in sorted(result["mean"][part], key=_loss_first):
            columns.append((part, metric))
    cells = [["fold", "epochs", *("{} {}".format(part, metric) for part, metric in columns)]]
    for fold in result["folds"]:
        values = [_cell(fold[part][metric]) for part, metric in columns]
        cells.append([str(fold["fold"]), str(fold["epochs_run"]), *values])
    for name in ("mean", "deviation"):
        values = [_cell(result[name][part][metric]) for part, metric in columns]
        cells.append([name, "", *values])
    return cells


def _loss_first(name: str) -> Tuple[bool, str]:
    return name != "loss", name


def _cell(value: Any) -> str:
    return "-" if value is None else "{:.4f}".format(value)
