"""Several models as one: the mean of their answers for the same images, and how far they agree.

Needs predictions.npz of each. Source of the mean: Lakshminarayanan et al. 2017, "Simple and
Scalable Predictive Uncertainty Estimation using Deep Ensembles".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import RunError, UserError
from hpcdl.formats import percent
from hpcdl.report.comparable import takes_part, why_not
from hpcdl.report.evaluation import read_predictions
from hpcdl.report.facts import Facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST = 1e-7  # a probability of 0 for the right class would make the log-loss infinite


@dataclass(frozen=True)
class Scores:
    """What answers are worth.

    Args:
        accuracy: the share of right answers.
        log_loss: the mean of -ln of the probability of the right class.
    """

    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Together:
    """Models whose answers are averaged.

    Args:
        rows: the number of test images.
        mean: the scores of the mean of their probabilities.
        alone: the scores of each model.
        disagreement: the share of images to which not all models give the same answer.
    """

    rows: int
    mean: Scores
    alone: Sequence[Scores]
    disagreement: float


def together_of_runs(runs: Sequence[Facts]) -> Together | None:
    """The models of several runs, or the folds of one, together.

    Args:
        runs: the runs. One of a cross-validation counts as the models of its folds.

    Returns:
        None where there are no two models, where they were not tested on the same images, or where
        predictions are missing.
    """
    compared = [run for run in runs if takes_part(run)]
    files: list[Path] = []
    for run in compared:
        paths = run.run.paths
        parts = paths.folds() or [paths]
        files += [part.predictions for part in parts]
    if len(files) < 2 or why_not("test", compared):
        return None
    if not all(path.is_file() for path in files):
        return None
    try:
        labels = read_predictions(files[0]).labels
        return together(labels, _probabilities(files, labels))
    except (RunError, UserError):
        return None


def _probabilities(files: Sequence[Path], labels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The probabilities of each model, one after the other.

    Raises:
        RunError: a file cannot be read, or is about other images or classes than the first one.
    """
    import numpy as np

    shape = None
    for path in files:
        predictions = read_predictions(path)
        shape = shape or predictions.probabilities.shape
        is_same = np.array_equal(predictions.labels, labels)
        if not is_same or predictions.probabilities.shape != shape:
            raise RunError(f"{path} is about other images or classes than {files[0]}")
        yield predictions.probabilities


def together(labels: NDArray[Any], probabilities: Iterable[NDArray[Any]]) -> Together:
    """Score several models and their mean.

    Args:
        labels: (rows,) class numbers.
        probabilities: of each model, (rows, classes); at least one.
    """
    import numpy as np

    total: Any = 0.0
    alone = []
    first_answers = None
    differs = np.zeros(len(labels), bool)
    for one in probabilities:
        total = total + one.astype(np.float64)
        alone.append(scores(labels, one))
        answers = one.argmax(axis=1)
        if first_answers is None:
            first_answers = answers
        differs |= answers != first_answers
    mean = scores(labels, total / len(alone))
    return Together(len(labels), mean, alone, float(differs.mean()))


def scores(labels: NDArray[Any], probabilities: NDArray[Any]) -> Scores:
    """The scores of one model.

    Args:
        labels: (rows,) class numbers.
        probabilities: (rows, classes).
    """
    import numpy as np

    of_right = probabilities[np.arange(len(labels)), labels]
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    return Scores(float(accuracy), float(-np.log(np.maximum(of_right, _SMALLEST)).mean()))


def sentence(result: Together) -> str:
    """What the mean of several models is worth, in words."""
    best = max(one.accuracy for one in result.alone)
    lowest = min(one.log_loss for one in result.alone)
    return (
        f"the mean of these {len(result.alone)} models: test accuracy "
        f"{percent(result.mean.accuracy)} (the best alone {percent(best)}), "
        f"log-loss {result.mean.log_loss:.4f} (the lowest alone {lowest:.4f}); "
        f"they disagree about {percent(result.disagreement)} of {result.rows:,} images"
    )
