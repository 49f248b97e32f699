"""The table of a cross-validation: a line for each fold, their mean and deviation, for the log and for people later."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

PARTS = ("validation", "test")


def table(found: Dict[str, Any]) -> List[List[str]]:
    """The cells of the table, its header first.

    Args:
        found: ``cross_validation`` of result.json.
    """
    columns = [
        (part, name) for part in PARTS for name in sorted(found["mean"][part], key=_loss_first)
    ]
    rows = [["fold", "epochs", *("{} {}".format(part, name) for part, name in columns)]]
    for fold in found["folds"]:
        rows.append(
            [
                str(fold["fold"]),
                str(fold["epochs_run"]),
                *(_cell(fold[part][name]) for part, name in columns),
            ]
        )
    for name in ("mean", "deviation"):
        rows.append([name, "", *(_cell(found[name][part][metric]) for part, metric in columns)])
    return rows


def _loss_first(name: str) -> Tuple[bool, str]:
    return name != "loss", name


def _cell(value: Any) -> str:
    return "-" if value is None else "{:.4f}".format(value)
