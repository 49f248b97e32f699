"""Over- and under-fitting, told from curves that are known to show it, or not to."""

from __future__ import annotations

import math

import pytest

from hpcdl.report.fit import best_epoch, judge


def epochs(loss, val_loss=None, accuracy=0.9):
    rows = [{"epoch": n, "loss": value, "accuracy": accuracy} for n, value in enumerate(loss, 1)]
    for row, value in zip(rows, val_loss or [], strict=val_loss is not None):
        row["val_loss"] = value
    return rows


FALLING = [1 / n for n in range(1, 19)]
RISING_AGAIN = [1.0, 0.7, 0.5, 0.4, 0.35, 0.34, 0.33, 0.34, 0.35, 0.36, 0.37, 0.38, 0.39, 0.4, 0.41, 0.42, 0.43, 0.44]
LEVEL = [1.0, 0.6, 0.4, 0.3, *[0.25] * 14]
NOISE = [value * (1.2 if n % 4 == 3 else 0.98) for n, value in enumerate(LEVEL)]  # the last one is 20 % up


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (epochs(FALLING, RISING_AGAIN), "overfit"),
        (epochs(FALLING, [value * 1.1 for value in FALLING]), "improving"),
        (epochs(FALLING, LEVEL), "level"),
        (epochs(FALLING, NOISE), "level"),
        (epochs([value + 0.5 for value in FALLING], RISING_AGAIN), "level"),  # validation stays below training
        (epochs([1 + n / 100 for n in range(18)], RISING_AGAIN), "level"),  # training got worse as well
        (epochs([math.log(3)] * 5, [math.log(3)] * 5, accuracy=0.34), "guessing"),
        (epochs(FALLING), "unknown"),
        (epochs(FALLING[:2], FALLING[:2]), "unknown"),
        (epochs([*FALLING[:5], None], LEVEL[:6]), "unknown"),
    ],
    ids=["overfit", "improving", "level", "noise", "below", "both worse", "guessing", "no validation", "short", "nan"],
)
def test_curves_are_judged(rows, kind):
    assert judge(rows, 3).kind == kind


def test_overfitting_names_its_epoch():
    text = judge(epochs(FALLING, RISING_AGAIN), 3).text

    assert "after about epoch 7" in text
    assert "early_stopping" in text


def test_kept_weights_are_said():
    assert "weights of its best epoch were kept" in judge(epochs(FALLING, RISING_AGAIN), 3, kept_best=True).text


def test_best_epoch_is_the_runs_own_word():
    rows = epochs(FALLING, RISING_AGAIN)

    assert best_epoch(rows, {"epoch": 9, "monitor": "val_accuracy"}) == (9, "val_accuracy")
    assert best_epoch(rows, None) == (7, "val_loss")
    assert best_epoch(epochs(FALLING), None) is None
