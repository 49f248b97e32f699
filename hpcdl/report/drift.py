"""Drift: whether new images differ from a run's test, and whether the model likely does worse.

`Sample` is one set of images: the model's probabilities, and what the images look like. `drift`
compares a run's own test (`read_sample`) with new images, whose classes need not be known.
`Drift.to_json` is `drift` of a prediction's result.json, `Drift.sentence` says it to people, and
`fails` is what ``--fail-on-drift`` asks.

There are two verdicts, because many changes do no harm. *Changed*: a two-sample test finds a
difference. *Likely worse*: the model is less sure, by more than `LESS_SURE` of the standard
deviation that its confidence has in the test.

Sources: https://arxiv.org/abs/1802.03916 (the answers of the model alone show a shift),
https://arxiv.org/abs/1810.11953 (of the tests tried, those on a classifier's outputs do best).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import RunError
from hpcdl.report.evaluation import read_predictions
from hpcdl.trainer.dataset.looks import LOOKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.005  # of all tests together; with 0.01, 1.7 of 100 draws of 50 images gave a false alarm
LESS_SURE = 0.3  # of a standard deviation: harmful changes on MNIST take 0.39 or more
FEW = 20  # images below which hardly any change shows
_SURE_ERRORS = 3.0  # standard errors, so that a few odd images do not count
_MOST_CLASSES = 20  # that have a test of their own
MOST_ROWS = 10_000  # of a sample: more would find differences that mean nothing
_NAMED = 5


@dataclass(frozen=True)
class Sample:
    """A set of images, as a model sees it.

    probabilities: float (rows, classes).
    looks: float (rows, 5), by `hpcdl.trainer.dataset.looks`; None of a run of an older hpcdl.
    """

    probabilities: NDArray[Any]
    looks: NDArray[Any] | None = None


@dataclass(frozen=True)
class Drift:
    """What has changed between a run's test images and new ones.

    changed: whether a test found a difference.
    what: what differs the most, the clearest first: ``confidence``, ``classes`` (the shares of
        the answers), ``class NAME`` (its probability) or one of `LOOKS`.
    p: the smallest of the tests, times their number; below `LEVEL` there is a change.
    psi: of the answers' classes; above 0.25 their shares differ much.
    confidence: the mean of the new images, of the test's, and the test's standard deviation.
    likely_worse: whether the model likely makes more mistakes than in the test.
    rows: of the new images, and of the test.
    """

    changed: bool
    what: list[str]
    p: float
    psi: float
    confidence: dict[str, float]
    likely_worse: bool
    rows: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """`drift` of result.json."""
        return {
            "changed": self.changed,
            "what": self.what,
            "p": self.p,
            "psi": round(self.psi, 4),
            "confidence": {name: round(value, 4) for name, value in self.confidence.items()},
            "likely_worse": self.likely_worse,
            "rows": self.rows,
        }

    def doubt(self) -> str:
        """What to add to the word that nothing has changed: there may be too few images for it."""
        count = self.rows["new"]
        if count >= FEW:
            return ""
        return f"; {count} images are few, and only a large change would show"

    def sentence(self) -> str:
        """The two verdicts in words."""
        new, test = self.confidence["new"], self.confidence["test"]
        means = f"mean confidence {new:.3f}, in the test {test:.3f}"
        if not self.changed:
            return f"no change found: the images look like the test's ({means}){self.doubt()}"
        names = ", ".join(self.what)
        if self.likely_worse:
            return f"changed: {names}; the model is likely worse ({means})"
        return f"changed: {names}; the model is about as sure as in the test ({means})"


def fails(verdict: Drift | None) -> bool:
    """Whether ``--fail-on-drift`` fails: the model is likely worse; what only changed does not."""
    return verdict is not None and verdict.likely_worse


def read_sample(predictions: Sequence[Path]) -> Sample:
    """The test images of a run, from its predictions.npz; of several runs, as their mean answers.

    Raises:
        RunError: a file is missing or damaged, or the runs were tested on different images.
    """
    for path in predictions:
        if not path.exists():
            raise RunError(f"there is no {path}, which would tell what the test's images were like")
    first = read_predictions(predictions[0])
    total = first.probabilities.astype(float)
    for path in predictions[1:]:
        other = read_predictions(path)
        same_shape = other.probabilities.shape == first.probabilities.shape
        if not same_shape or (other.labels != first.labels).any():
            raise RunError(f"{predictions[0]} and {path} are about different test images")
        total += other.probabilities
    return Sample(total / len(predictions), first.looks)


def drift(test: Sample, new: Sample, class_names: Sequence[str]) -> Drift:
    """Compare new images with those of a run's test.

    Of more than 10,000 rows of either, 10,000 are taken, evenly.

    Args:
        test: at least one row.
        new: the same, of the same classes.
        class_names: in the order of the classes.
    """
    test, new = _at_most(test), _at_most(new)
    ps = _ps(test, new, class_names)
    by_p = sorted(ps, key=lambda name: ps[name])
    bound = LEVEL / len(ps)
    what = [name for name in by_p if ps[name] < bound]
    sure, new_sure = test.probabilities.max(axis=1), new.probabilities.max(axis=1)
    spread = float(sure.std())
    fall = float(sure.mean() - new_sure.mean())
    error = spread * math.sqrt(1 / len(sure) + 1 / len(new_sure))
    return Drift(
        changed=bool(what),
        what=what[:_NAMED],
        p=min(1.0, ps[by_p[0]] * len(ps)),
        psi=_psi(test, new),
        confidence={
            "new": float(new_sure.mean()),
            "test": float(sure.mean()),
            "spread": spread,
        },
        likely_worse=bool(what) and fall > max(LESS_SURE * spread, _SURE_ERRORS * error),
        rows={"new": len(new_sure), "test": len(sure)},
    )


def _at_most(sample: Sample) -> Sample:
    """A sample without the rows that are too many."""
    import numpy as np

    rows = len(sample.probabilities)
    if rows <= MOST_ROWS:
        return sample
    taken = np.linspace(0, rows - 1, MOST_ROWS).astype(int)
    looks = None if sample.looks is None else sample.looks[taken]
    return Sample(sample.probabilities[taken], looks)


def _ps(test: Sample, new: Sample, class_names: Sequence[str]) -> dict[str, float]:
    """The p of each test, by the name of what it compares."""
    from hpcdl.report.two_samples import chi_square_p, ks_p

    counts, new_counts = _counts(test), _counts(new)
    ps = {
        "confidence": ks_p(test.probabilities.max(axis=1), new.probabilities.max(axis=1)),
        "classes": chi_square_p(counts, new_counts),
    }
    frequent = (-counts - new_counts).argsort(kind="stable")[:_MOST_CLASSES]
    for label in map(int, frequent):
        p = ks_p(test.probabilities[:, label], new.probabilities[:, label])
        ps[f"class {class_names[label]}"] = p
    if test.looks is not None and new.looks is not None:
        for column, name in enumerate(LOOKS):
            ps[name] = ks_p(test.looks[:, column], new.looks[:, column])
    return ps


def _counts(sample: Sample) -> Any:
    """The rows of each class, by the answers."""
    import numpy as np

    classes = sample.probabilities.shape[1]
    return np.bincount(sample.probabilities.argmax(axis=1), minlength=classes)


def _psi(test: Sample, new: Sample) -> float:
    from hpcdl.report.two_samples import psi

    return psi(_counts(test), _counts(new))
