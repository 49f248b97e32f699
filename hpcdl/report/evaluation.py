"""What predictions.npz says of a model: scores over all classes and of each, calibration, the worst mistakes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import RunError, UserError
from hpcdl.extras import REPORT, pip_install
from hpcdl.trainer.filenames import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP_K = (3, 5)
BINS = 10  # of confidence, equally wide


@dataclass(frozen=True)
class Predictions:
    """What a model says of the test images.

    labels: (rows,) class numbers.
    probabilities: (rows, classes).
    pictures: uint8 images by row, of mistakes.
    files: the file of each of these rows, if known.
    """

    labels: NDArray[Any]
    probabilities: NDArray[Any]
    pictures: dict[int, NDArray[Any]]
    files: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassScore:
    """One class. Shares are None where they are not defined: a class never answered, or never there."""

    label: int
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Bin:
    """The rows whose answer has a confidence in (low, high]: their mean confidence, and how many are right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Mistake:
    """A row that the model got wrong, and the probability that it gave its answer."""

    row: int
    label: int
    answer: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all rows. confusion[i, j] counts rows of class i that were taken for class j."""

    rows: int
    accuracy: float
    balanced_accuracy: float
    top_k: dict[int, float]
    confusion: NDArray[Any]
    classes: list[ClassScore]
    bins: list[Bin]
    calibration_error: float
    worst: list[Mistake]


def read_predictions(path: Path) -> Predictions:
    """Read a run's predictions.npz.

    Raises:
        RunError: it is not there, damaged, or something else.
    """
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        labels, probabilities = arrays["labels"], arrays["probabilities"]
        if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
            raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} do not fit")
        if not np.isfinite(probabilities).all() or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
            raise ValueError("it holds NaN, or labels beyond its classes")
        rows = arrays.get("picture_rows", labels[:0])
        pictures = dict(zip(map(int, rows), arrays.get("pictures", ()), strict=False))
        files = {}
        if "files" in arrays:
            files = {int(row): shown(str(arrays["files"][row])) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    return Predictions(labels, probabilities, pictures, files)


def evaluate(labels: NDArray[Any], probabilities: NDArray[Any], worst: int = 24) -> Evaluation:
    """Score a classifier's probabilities against the true classes.

    Calibration: the expected calibration error is the mean distance between confidence and accuracy over
    `BINS` bins, weighted by rows. Source: https://arxiv.org/abs/1706.04599, section 2.

    Args:
        labels: (rows,) class numbers.
        probabilities: (rows, classes).
        worst: how many of the most confident mistakes to list.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn import metrics
    except ImportError as error:
        install = pip_install(*REPORT)
        raise UserError(f"scores need scikit-learn, which is not installed: {install}") from error
    import numpy as np

    count = probabilities.shape[1]
    every = np.arange(count)
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    scores = metrics.precision_recall_fscore_support(labels, answers, labels=every, zero_division=np.nan)
    wrong = np.flatnonzero(answers != labels)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:worst]
    bins = _bins(answers == labels, confidence)
    return Evaluation(
        rows=len(labels),
        accuracy=float(metrics.accuracy_score(labels, answers)),
        balanced_accuracy=float(np.nanmean(scores[1])),
        top_k={k: float(metrics.top_k_accuracy_score(labels, probabilities, k=k, labels=every)) for k in _ks(count)},
        confusion=metrics.confusion_matrix(labels, answers, labels=every),
        classes=[
            ClassScore(n, _defined(precision), _defined(recall), _defined(f1), int(support))
            for n, (precision, recall, f1, support) in enumerate(zip(*scores, strict=True))
        ],
        bins=bins,
        calibration_error=sum(one.rows * abs(one.confidence - one.accuracy) for one in bins) / len(labels),
        worst=[Mistake(int(n), int(labels[n]), int(answers[n]), float(confidence[n])) for n in order],
    )


def _defined(share: float) -> float | None:
    return None if share != share else float(share)  # NaN is not itself


def _ks(classes: int) -> list[int]:
    return [k for k in TOP_K if 2 * k <= classes]  # more is hardly ever missed


def _bins(right: NDArray[Any], confidence: NDArray[Any]) -> list[Bin]:
    """The bins that have rows."""
    import numpy as np

    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for n in range(BINS):
        inside = number == n
        if inside.any():
            means = float(confidence[inside].mean(dtype=float)), float(right[inside].mean())
            found.append(Bin(n / BINS, (n + 1) / BINS, int(inside.sum()), *means))
    return found


def confused_pairs(confusion: NDArray[Any], most: int = 10) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (class, taken for, rows), the most frequent first."""
    import numpy as np

    mistakes = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = (divmod(int(place), len(confusion)) for place in order)
    return [(i, j, int(mistakes[i, j])) for i, j in pairs if mistakes[i, j]]
