"""Class balance: what evens out classes of unequal size, by the rows of an epoch or by their weight in the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREAM = 0xBA1  # keeps these numbers apart from those of the epochs' orders


class Balance:
    """How often each training row comes in an epoch, and what it weighs in the loss.

    With oversample each class has as many rows in an epoch as the largest, with undersample as many as the smallest.
    A class's rows are walked through in a circle of random order, each epoch going on where the one before ended:
    the circle is a function of the seed, the place in it of the epoch's number. So the counts of two rows of a class
    differ by one at most, in each epoch and over all of them.

    Args:
        kind: one of train.balance's choices.
        rows: the row numbers to train on, int32 (rows,).
        labels: the class numbers of all rows of the part, int32.
        classes: the number of classes.
        seed: the run's.
    """

    def __init__(
        self, kind: str, rows: NDArray[Any], labels: NDArray[Any], classes: int, seed: int
    ) -> None:
        self.kind = kind
        self._rows = rows
        mine = labels[rows]
        self.counts = np.bincount(mine, minlength=classes)
        present = self.counts[self.counts > 0]
        self._per_class = {"oversample": int(present.max()), "undersample": int(present.min())}.get(
            kind
        )
        self._circles = []
        if self._per_class is not None:
            self.rows_per_epoch = self._per_class * len(present)
            for label in np.flatnonzero(self.counts):
                random = np.random.default_rng([seed, _STREAM, int(label)])
                self._circles.append(random.permutation(rows[mine == label]))
        else:
            self.rows_per_epoch = len(rows)
        self.class_weights: Optional[NDArray[Any]] = None
        if kind == "class_weight":
            safe = np.maximum(self.counts, 1)
            self.class_weights = (len(rows) / (len(present) * safe)).astype(np.float32)

    def rows_of(self, epoch: int) -> NDArray[Any]:
        """The rows of one epoch (from 0), not yet in its order: a function of the seed and the epoch alone."""
        if self._per_class is None:
            return self._rows
        walk = np.arange(epoch * self._per_class, (epoch + 1) * self._per_class, dtype=np.int64)
        return np.concatenate([circle[walk % len(circle)] for circle in self._circles])

    def effective(self) -> List[float]:
        """For each class its rows of an epoch, or with class_weight the weight of each row; 0 without any row."""
        if self.class_weights is not None:
            return [
                float(weight) * bool(count)
                for weight, count in zip(self.class_weights, self.counts)
            ]
        if self._per_class is not None:
            return [self._per_class * bool(count) for count in self.counts]
        return [int(count) for count in self.counts]

    def about(self) -> Dict[str, Any]:
        """For result.json: the kind, and by class the rows and what became of them."""
        what = "weights" if self.kind == "class_weight" else "rows_per_epoch"
        return {
            "kind": self.kind,
            "rows": [int(count) for count in self.counts],
            what: self.effective(),
        }

    def table(self, class_names: Optional[Sequence[str]]) -> str:
        """For people: each class, its rows, and what became of them."""
        what = "weight in the loss" if self.kind == "class_weight" else "rows in an epoch"
        names = [str(name) for name in class_names or range(len(self.counts))]
        wide = max(5, *(len(name) for name in names))
        lines = [
            "balance: {}".format(self.kind),
            "  {:<{}}  {:>9}  {}".format("class", wide, "rows", what),
        ]
        for name, count, effective in zip(names, self.counts, self.effective()):
            shown = (
                "{:.4g}".format(effective)
                if self.kind == "class_weight"
                else "{:,}".format(int(effective))
            )
            lines.append(
                "  {:<{}}  {:>9,}  {:>{}}".format(name, wide, int(count), shown, len(what))
            )
        return "\n".join(lines)
