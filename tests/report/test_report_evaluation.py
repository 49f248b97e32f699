"""Scores of predictions, against values worked out by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hpcdl.errors import RunError, UserError
from hpcdl.report.evaluation import confused_pairs, evaluate, read_predictions

# Four classes; nothing is ever taken for class 3, and class 2 has one image.
LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
PROBABILITIES = np.array(
    [
        [0.90, 0.05, 0.03, 0.02],  # right
        [0.60, 0.30, 0.06, 0.04],  # right
        [0.20, 0.75, 0.03, 0.02],  # 0 taken for 1
        [0.10, 0.80, 0.05, 0.05],  # right
        [0.95, 0.02, 0.02, 0.01],  # 1 taken for 0
        [0.10, 0.10, 0.45, 0.35],  # right
    ],
    np.float32,
)


@pytest.fixture(scope="module")
def scores():
    return evaluate(LABELS, PROBABILITIES)


def test_scores_over_all(scores):
    assert scores.rows == 6
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.balanced_accuracy == pytest.approx(
        (2 / 3 + 1 / 2 + 1) / 3
    )  # of the classes that are there


def test_scores_of_each_class(scores):
    found = [(one.label, one.precision, one.recall, one.f1, one.support) for one in scores.classes]
    thirds = pytest.approx(2 / 3)
    assert found == [
        (0, thirds, thirds, thirds, 3),
        (1, pytest.approx(1 / 2), pytest.approx(1 / 2), pytest.approx(1 / 2), 2),
        (2, 1, 1, 1, 1),
        (3, None, None, None, 0),
    ]


def test_confusion_counts_class_by_answer(scores):
    assert scores.confusion.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert confused_pairs(scores.confusion) == [(0, 1, 1), (1, 0, 1)]


def test_worst_are_the_most_confident_mistakes(scores):
    assert [(one.row, one.label, one.answer) for one in scores.worst] == [(4, 1, 0), (2, 0, 1)]
    assert [one.confidence for one in scores.worst] == pytest.approx([0.95, 0.75])
    assert len(evaluate(LABELS, PROBABILITIES, worst=1).worst) == 1


def test_calibration_by_hand(scores):
    """Bins (0.4, 0.5]: 0.45, right. (0.5, 0.6]: 0.6, right. (0.7, 0.8]: 0.75 wrong, 0.8 right. (0.8, 1]: 0.9, 0.95."""
    bins = [(one.low, one.rows, one.accuracy) for one in scores.bins]
    assert bins == [(0.4, 1, 1.0), (0.5, 1, 1.0), (0.7, 2, 0.5), (0.8, 1, 1.0), (0.9, 1, 0.0)]
    by_hand = (0.55 + 0.4 + 2 * abs(0.775 - 0.5) + 0.1 + 0.95) / 6
    assert scores.calibration_error == pytest.approx(by_hand, abs=1e-6)


def test_confident_correct_model_is_calibrated():
    scores = evaluate(np.array([0, 1, 2]), np.eye(3, dtype=np.float32))

    assert (scores.accuracy, scores.calibration_error, scores.worst) == (1.0, 0.0, [])


def test_top_k_counts_ranks():
    ranked = np.tile(
        np.linspace(0.3, 0.01, 10, dtype=np.float32), (10, 1)
    )  # class 0 first, class 9 last
    scores = evaluate(np.arange(10), ranked)

    assert scores.top_k == {3: pytest.approx(0.3), 5: pytest.approx(0.5)}


def test_two_classes_have_no_top_k():
    scores = evaluate(np.array([0, 1]), np.array([[0.8, 0.2], [0.7, 0.3]], np.float32))

    assert scores.top_k == {}
    assert scores.classes[1].precision is None


def test_missing_scikit_learn_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)

    with pytest.raises(UserError, match="pip install scikit-learn"):
        evaluate(LABELS, PROBABILITIES)


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": LABELS},
        {"labels": LABELS[:3], "probabilities": PROBABILITIES},
        {"labels": LABELS, "probabilities": PROBABILITIES[:, :2]},
        {"labels": LABELS, "probabilities": PROBABILITIES * np.nan},
        {"labels": np.array([{}]), "probabilities": PROBABILITIES},
        None,
    ],
    ids=["no probabilities", "other rows", "labels beyond", "nan", "pickled", "cut short"],
)
def test_damaged_predictions_are_reported(tmp_path, arrays):
    path = tmp_path / "predictions.npz"
    np.savez(path, **(arrays or {"labels": LABELS, "probabilities": PROBABILITIES}))
    if arrays is None:
        path.write_bytes(path.read_bytes()[:300])

    with pytest.raises(RunError, match=r"predictions\.npz cannot be read"):
        read_predictions(path)
