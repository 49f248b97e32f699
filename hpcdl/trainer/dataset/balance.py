"""Evens out classes of unequal size: by the rows of an epoch, or by their weight in the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREAM = 0xBA1  # keeps these numbers apart from those of the epochs' orders


class Balance:
    """How often each training row occurs in an epoch, and its weight in the loss.

    With oversample, each class has the rows of the largest one in an epoch; with undersample, those
    of the smallest one. A class's rows form a circle of random order, and each epoch continues
    where the previous one ended. The circle is a function of the seed, the place in it of the
    epoch's number. So two rows of a class differ by one occurrence at most, in each epoch and over
    all epochs.

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
        row_labels = labels[rows]
        self.counts = np.bincount(row_labels, minlength=classes)
        present = self.counts[self.counts > 0]
        per_class = {"oversample": int(present.max()), "undersample": int(present.min())}
        self._per_class = per_class.get(kind)
        self._circles = []
        if self._per_class is not None:
            self.rows_per_epoch = self._per_class * len(present)
            for label in np.flatnonzero(self.counts):
                random = np.random.default_rng([seed, _STREAM, int(label)])
                self._circles.append(random.permutation(rows[row_labels == label]))
        else:
            self.rows_per_epoch = len(rows)
        self.class_weights: Optional[NDArray[Any]] = None
        if kind == "class_weight":
            safe = np.maximum(self.counts, 1)
            self.class_weights = (len(rows) / (len(present) * safe)).astype(np.float32)

    def rows_of(self, epoch: int) -> NDArray[Any]:
        """The rows of one epoch (from 0), not yet in its order.

        A function of the seed and the epoch alone.
        """
        if self._per_class is None:
            return self._rows
        walk = np.arange(epoch * self._per_class, (epoch + 1) * self._per_class, dtype=np.int64)
        return np.concatenate([circle[walk % len(circle)] for circle in self._circles])

    def effective(self) -> List[float]:
        """For each class its rows in an epoch, or with class_weight the weight of each of them.

        0 for a class without rows.
        """
        if self.class_weights is not None:
            values = np.where(self.counts > 0, self.class_weights, 0)
        elif self._per_class is not None:
            values = np.where(self.counts > 0, self._per_class, 0)
        else:
            values = self.counts
        return list(values.tolist())

    def about(self) -> Dict[str, Any]:
        """For result.json: the kind, and by class the rows before and after."""
        what = "weights" if self.kind == "class_weight" else "rows_per_epoch"
        return {
            "kind": self.kind,
            "rows": [int(count) for count in self.counts],
            what: self.effective(),
        }

    def table(self, class_names: Optional[Sequence[str]]) -> str:
        """For people: each class, its rows, and its rows in an epoch or their weight."""
        what = "weight in the loss" if self.kind == "class_weight" else "rows in an epoch"
        names = [str(name) for name in class_names or range(len(self.counts))]
        width = max(len("class"), *map(len, names))
        lines = [
            "balance: {}".format(self.kind),
            "  {:<{}}  {:>9}  {}".format("class", width, "rows", what),
        ]
        for name, count, effective in zip(names, self.counts, self.effective()):
            shown = "{:,}".format(int(effective))
            if self.kind == "class_weight":
                shown = "{:.4g}".format(effective)
            lines.append(
                "  {:<{}}  {:>9,}  {:>{}}".format(name, width, int(count), shown, len(what))
            )
        return "\n".join(lines)
