"""Scores a model by its predictions.npz: overall, by class, calibration, worst mistakes."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.contract.file_names import shown
from hpcdl.errors import RunError, UserError
from hpcdl.extras import REPORT, pip_install

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP_K = (3, 5)
BINS = 10  # of confidence, equally wide
UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile),  # the file
    *(ValueError, TypeError, KeyError, IndexError),  # its content
)


@dataclass(frozen=True)
class Predictions:
    """What a model answers for the test images.

    labels: (rows,) class numbers.
    probabilities: (rows, classes).
    pictures: uint8 images by row: of mistakes, and of `unsure`.
    files: the file of each of these rows, if known.
    looks: (rows, 5), by `hpcdl.trainer.dataset.looks`; None of a run of before hpcdl 0.4.
    unsure: the rows with the least confident answers, the least confident one first.
    heat: where the model looked, by row: uint8 of the picture's height and width, 255 the hottest.
    """

    labels: NDArray[Any]
    probabilities: NDArray[Any]
    pictures: dict[int, NDArray[Any]]
    files: dict[int, str] = field(default_factory=dict)
    looks: NDArray[Any] | None = None
    unsure: list[int] = field(default_factory=list)
    heat: dict[int, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassScore:
    """One class. A share is None if it is not defined: no answer, or no row, of this class."""

    label: int
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Bin:
    """The rows whose answer has a confidence in (low, high].

    confidence: the mean of them. accuracy: the share of right answers.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Answer:
    """What the model answers for a row of a class, and the probability that it gives its answer."""

    row: int
    label: int
    answer: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all rows. confusion[i, j] counts rows of class i that the model takes for j."""

    rows: int
    accuracy: float
    balanced_accuracy: float
    top_k: dict[int, float]
    confusion: NDArray[Any]
    classes: list[ClassScore]
    bins: list[Bin]
    calibration_error: float
    worst: list[Answer]


def read_predictions(path: Path) -> Predictions:
    """Read a run's predictions.npz.

    Raises:
        RunError: the file is missing, damaged, or something else.
    """
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = dict(archive.items())
        return _predictions(arrays)
    except UNREADABLE as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def _predictions(arrays: dict[str, NDArray[Any]]) -> Predictions:
    """The arrays of predictions.npz, checked."""
    labels, probabilities = arrays["labels"], arrays["probabilities"]
    _check(labels, probabilities)
    pictures = _by_row(arrays, "picture_rows", "pictures")
    unsure = _by_row(arrays, "unsure_rows", "unsure_pictures")
    pictures.update(unsure)
    heat = _by_row(arrays, "heat_rows", "heat")
    for row, heated in heat.items():
        if row not in pictures or heated.shape != pictures[row].shape[:2]:
            raise ValueError(f"the heat map of row {row} does not fit its picture")
    files = {}
    if "files" in arrays:
        files = {row: shown(str(arrays["files"][row])) for row in pictures}
    looks = looks_of(arrays, len(labels))
    return Predictions(labels, probabilities, pictures, files, looks, list(unsure), heat)


def looks_of(arrays: dict[str, NDArray[Any]], rows: int) -> NDArray[Any] | None:
    """What the images look like, if it was written."""
    from hpcdl.trainer.dataset.looks import LOOKS

    looks = arrays.get("looks")
    if looks is not None and looks.shape != (rows, len(LOOKS)):
        raise ValueError(f"looks {looks.shape} do not fit {rows} rows")
    return looks


def _by_row(arrays: dict[str, NDArray[Any]], rows: str, values: str) -> dict[int, NDArray[Any]]:
    """An array's values by the row numbers that another one has; empty without them."""
    numbers = list(map(int, arrays.get(rows, ())))
    return dict(zip(numbers, arrays.get(values, ()), strict=False))


def _check(labels: NDArray[Any], probabilities: NDArray[Any]) -> None:
    """Refuse arrays that a classifier cannot have written."""
    import numpy as np

    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        shapes = f"labels {labels.shape} and probabilities {probabilities.shape}"
        raise ValueError(f"{shapes} do not fit")
    has_class = labels.min() >= 0 and labels.max() < probabilities.shape[1]
    if not has_class or not np.isfinite(probabilities).all():
        raise ValueError("it holds NaN, or labels beyond its classes")


def evaluate(labels: NDArray[Any], probabilities: NDArray[Any], worst: int = 24) -> Evaluation:
    """Score a classifier's probabilities against the true classes.

    The expected calibration error is the mean distance between confidence and accuracy over `BINS`
    bins, weighted by their rows. Source: https://arxiv.org/abs/1706.04599, section 2.

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

    every = np.arange(probabilities.shape[1])
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    by_class = metrics.precision_recall_fscore_support(
        labels,
        answers,
        labels=every,
        zero_division=np.nan,
    )
    top_k = {}
    for k in TOP_K:
        if 2 * k <= len(every):  # with fewer classes hardly any answer lies outside
            score = metrics.top_k_accuracy_score(labels, probabilities, k=k, labels=every)
            top_k[k] = float(score)
    bins = _bins(answers == labels, confidence)
    distance = sum(group.rows * abs(group.confidence - group.accuracy) for group in bins)
    return Evaluation(
        rows=len(labels),
        accuracy=float(metrics.accuracy_score(labels, answers)),
        balanced_accuracy=float(np.nanmean(by_class[1])),
        top_k=top_k,
        confusion=metrics.confusion_matrix(labels, answers, labels=every),
        classes=_class_scores(by_class),
        bins=bins,
        calibration_error=distance / len(labels),
        worst=_worst(labels, answers, confidence, worst),
    )


def confused_pairs(confusion: NDArray[Any], most: int = 10) -> list[tuple[int, int, int]]:
    """The most frequent mistakes first: (class, taken for, rows)."""
    import numpy as np

    mistakes = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = []
    for place in order:
        true, answer = divmod(int(place), len(confusion))
        if mistakes[true, answer]:
            pairs.append((true, answer, int(mistakes[true, answer])))
    return pairs


def _class_scores(by_class: Sequence[NDArray[Any]]) -> list[ClassScore]:
    """The scores of each class, from scikit-learn's four arrays."""
    scores = []
    for label, numbers in enumerate(zip(*by_class, strict=True)):
        precision, recall, f1, support = numbers
        shares = _defined(precision), _defined(recall), _defined(f1)
        scores.append(ClassScore(label, *shares, int(support)))
    return scores


def _defined(share: float) -> float | None:
    if math.isnan(share):
        return None
    return float(share)


def _worst(
    labels: NDArray[Any],
    answers: NDArray[Any],
    confidence: NDArray[Any],
    most: int,
) -> list[Answer]:
    """The most confident mistakes, the worst first."""
    import numpy as np

    rows = np.flatnonzero(answers != labels)
    mistakes = []
    for n in rows[np.argsort(-confidence[rows], kind="stable")][:most]:
        mistakes.append(Answer(int(n), int(labels[n]), int(answers[n]), float(confidence[n])))
    return mistakes


def least_certain(predictions: Predictions) -> list[Answer]:
    """The least confident answers of which there is a picture, the least confident one first."""
    unsure = []
    for row in predictions.unsure:
        shares = predictions.probabilities[row]
        label, answer = int(predictions.labels[row]), int(shares.argmax())
        unsure.append(Answer(row, label, answer, float(shares.max())))
    return unsure


def _bins(right: NDArray[Any], confidence: NDArray[Any]) -> list[Bin]:
    """The bins that have rows."""
    import numpy as np

    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for n in range(BINS):
        inside = number == n
        if inside.any():
            mean_confidence = float(confidence[inside].mean(dtype=float))
            accuracy = float(right[inside].mean())
            rows = int(inside.sum())
            bins.append(Bin(n / BINS, (n + 1) / BINS, rows, mean_confidence, accuracy))
    return bins
