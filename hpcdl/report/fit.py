"""Whether the curves of a run show over- or under-fitting, by rules that docs/my-results.md gives in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hpcdl.report.words import percent, several

RISE = 0.05  # of the validation loss over its lowest. Source: Prechelt, "Early Stopping - But When?", 1998: GL, alpha 5
FALL = 0.02  # of the validation loss in the last fifth of the epochs: it still improves
FEWEST = 3  # epochs that say anything
WINDOW = 3  # epochs whose median smooths a validation loss


@dataclass(frozen=True)
class Fit:
    """kind: "overfit", "guessing", "improving", "level" or "unknown"; text: the same for people."""

    kind: str
    text: str


def judge(epochs: Sequence[dict[str, Any]], classes: int | None, kept_best: bool = False) -> Fit:
    """Judge a run by its lines of metrics.jsonl.

    Args:
        epochs: the lines, oldest first.
        classes: the number of classes, where it is known.
        kept_best: whether the model has the weights of its best epoch.
    """
    train = [line.get("loss") for line in epochs]
    if len(epochs) < FEWEST or not all(_number(value) for value in train):
        return Fit("unknown", f"With fewer than {FEWEST} epochs the curves say nothing of over- or under-fitting.")
    last = epochs[-1]
    if classes and last["loss"] >= 0.95 * math.log(classes) and last.get("accuracy", 1.0) <= 2 / classes:
        return Fit(
            "guessing",
            f"It hardly learned: its training loss ({last['loss']:.2f}) is that of guessing among {classes} classes "
            f"({math.log(classes):.2f}). Try another learning rate; look whether labels and images belong together.",
        )
    valid = [line.get("val_loss") for line in epochs]
    if not all(_number(value) for value in valid):
        text = "Over-fitting cannot be seen without validation: data.validation_split: 0.1 keeps a tenth of the rows."
        return Fit("unknown", text)
    return _by_validation(train, valid, kept_best)


def best_epoch(epochs: Sequence[dict[str, Any]], best: dict[str, Any] | None) -> tuple[int, str] | None:
    """The best epoch and the metric that says so: the run's own word, else the lowest validation loss."""
    if best:
        return int(best["epoch"]), str(best["monitor"])
    known = [(line["val_loss"], line["epoch"]) for line in epochs if _number(line.get("val_loss"))]
    return (int(min(known)[1]), "val_loss") if known else None


def _by_validation(train: Sequence[Any], valid: Sequence[Any], kept_best: bool) -> Fit:
    smooth = [median(valid[max(0, n - WINDOW + 1) : n + 1]) for n in range(len(valid))]
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    rise = smooth[-1] / max(smooth[lowest], 1e-12) - 1
    if rise > RISE and train[-1] < train[lowest] and smooth[-1] > train[-1]:
        turn = min(range(lowest + 1), key=valid.__getitem__) + 1
        stop = (
            "The weights of its best epoch were kept; to go further,"
            if kept_best
            else "Stop there, with early_stopping;"
        )
        return Fit(
            "overfit",
            f"It over-fits: after about epoch {turn} the training loss went on falling while the validation loss rose "
            f"by {percent(rise, 0)}. {stop} try dropout, l2, more images or a smaller model.",
        )
    lately = max(1, len(valid) // 5)
    fall = 1 - smooth[-1] / max(smooth[-1 - lately], 1e-12)
    if lowest == len(smooth) - 1 and fall > FALL:
        when = several(lately, "epoch") if lately > 1 else "epoch"
        return Fit(
            "improving",
            f"It had not learned all it could: the validation loss fell by {percent(fall, 0)} over the last {when}. "
            "More epochs, or a higher learning rate, may help.",
        )
    return Fit("level", "The validation loss has levelled off: the curves show neither over- nor under-fitting.")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
