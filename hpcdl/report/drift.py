"""Drift: whether new images differ from a run's test, and whether the model likely does worse.

`Sample` is one set of images: the model's probabilities, and what the images look like. `drift`
compares a run's own test (`read_sample`) with new images, whose classes need not be known.
`Drift.to_json` is `drift` of a prediction's result.json, `hpcdl.report.verdicts` says it to people,
and `fails` is what ``--fail-on-drift`` asks.

There are two verdicts, because many changes do no harm. *Changed*: a two-sample test finds a
difference. *Likely worse*: the model is less sure, by more than `LESS_SURE` of the standard
deviation that its confidence has in the test. A model can be sure of images that are unlike any in
its test, and wrong. So where many lie far outside of the test's range, the second verdict is that
nobody can tell, unless the model is less sure as well.

Sources: https://arxiv.org/abs/1802.03916 (the answers of the model alone show a shift),
https://arxiv.org/abs/1810.11953 (of the tests tried, those on a classifier's outputs do best).
benchmarks/README.md has the bounds' check on networks and images that they were not set by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import RunError
from hpcdl.report.evaluation import read_predictions
from hpcdl.report.outside import MANY, find_outside
from hpcdl.trainer.dataset.looks import LOOKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.005  # of the two-sample tests together, and of the tests for images outside
LESS_SURE = 0.3  # of the standard deviation of the test's confidence
TRIFLE = 0.001  # of confidence: where the test's has no spread at all
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
    likely_worse: whether the model likely makes more mistakes than in the test; None if nobody
        can tell, because many images lie far outside of what the test had.
    rows: of the new images, and of the test.
    outside: the share of the new images that lie far outside (`hpcdl.report.outside`); None if it
        is not known, as of a prediction or a run of an older hpcdl.
    """

    changed: bool
    what: list[str]
    p: float
    psi: float
    confidence: dict[str, float]
    likely_worse: bool | None
    rows: dict[str, int]
    outside: float | None = None

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
            "outside": None if self.outside is None else round(self.outside, 4),
        }


def fails(verdict: Drift | None) -> bool:
    """Whether ``--fail-on-drift`` fails: the model is likely worse, or nobody can tell.

    What only changed does not fail.
    """
    return verdict is not None and verdict.likely_worse is not False


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

    Raises:
        RunError: a sample is empty, has other classes, or numbers that are not finite.
    """
    from hpcdl.report.two_samples import psi

    _check(test, new, len(class_names))
    test, new = _at_most(test), _at_most(new)
    ps = _times_their_number(_ps(test, new, class_names))
    outside = None
    many_outside = False
    if test.looks is not None and new.looks is not None:
        found = find_outside(test.looks, new.looks)
        outside = found.share
        ps_outside = _times_their_number(found.ps)
        many_outside = outside >= MANY and min(ps_outside.values()) < LEVEL
        for name, p in ps_outside.items():
            ps[name] = min(p, ps[name])
    by_p = sorted(ps, key=lambda name: ps[name])
    what = [name for name in by_p if ps[name] < LEVEL]
    confidence, is_less_sure = _confidence(test, new)
    likely_worse: bool | None = bool(what) and is_less_sure
    if many_outside and not likely_worse:
        likely_worse = None
    return Drift(
        changed=bool(what),
        what=what[:_NAMED],
        p=min(1.0, ps[by_p[0]]),
        psi=psi(_counts(test), _counts(new)),
        confidence=confidence,
        likely_worse=likely_worse,
        rows={"new": len(new.probabilities), "test": len(test.probabilities)},
        outside=outside,
    )


def _confidence(test: Sample, new: Sample) -> tuple[dict[str, float], bool]:
    """`confidence` of `Drift`; whether it fell by more than a trifle and more than by chance."""
    sure, new_sure = test.probabilities.max(axis=1), new.probabilities.max(axis=1)
    spread = float(sure.std())
    error = spread * math.sqrt(1 / len(sure) + 1 / len(new_sure))
    fall = float(sure.mean() - new_sure.mean())
    confidence = {"new": float(new_sure.mean()), "test": float(sure.mean()), "spread": spread}
    return confidence, fall > max(LESS_SURE * spread, _SURE_ERRORS * error, TRIFLE)


def _check(test: Sample, new: Sample, classes: int) -> None:
    """Refuse samples that cannot be compared."""
    import numpy as np

    for name, sample in (("the test", test), ("the new images", new)):
        if sample.probabilities.ndim != 2 or sample.probabilities.shape[1] != classes:
            shape = sample.probabilities.shape
            raise RunError(f"{name}: answers {shape} where (images, {classes} classes) is expected")
        if not len(sample.probabilities):
            raise RunError(f"{name}: there is no image to compare")
        if not np.isfinite(sample.probabilities).all():
            raise RunError(f"{name}: there are answers that are no number")
        if sample.looks is not None and not np.isfinite(sample.looks).all():
            raise RunError(f"{name}: there are looks of images that are no number")


def _times_their_number(ps: dict[str, float]) -> dict[str, float]:
    """Bonferroni: the p of several tests, each times the number of tests."""
    return {name: p * len(ps) for name, p in ps.items()}


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
