"""What a model scores on some rows, each counted exactly once under any strategy."""

from __future__ import annotations

from typing import Any, Callable, Dict

import numpy as np
import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.batches import Source, my_share


class Evaluator:
    """Scores a compiled model on rows of one source.

    Args:
        batch_rows: at most so many rows at a time. The rows are cut into nearly equal batches, so that
            none is left over and every replica has rows in each.
    """

    def __init__(self, model: Any, strategy: Any, source: Source, batch_rows: int) -> None:
        self._model = model
        self._strategy = strategy
        self._source = source
        self._batch_rows = batch_rows
        self._step = tf.function(self._batch)

    def _batch(self, indices: Any) -> None:
        self._strategy.run(self._replica, args=(indices,))

    def _replica(self, indices: Any) -> None:
        mine, _ = my_share(indices)  # unweighted: Keras counts a test step's rows, however many they are
        self._model.test_step(self._source.take(mine))

    def __call__(self, rows: Any, after_batch: Callable[[], None]) -> Dict[str, float]:
        """Score the model on `rows` (row numbers, int32). Resets the model's metrics first.

        Returns:
            the metrics by name: ``loss``, ``accuracy`` and those of a model that came compiled.
        """
        self._model.reset_metrics()
        for batch in np.array_split(rows, -(-len(rows) // self._batch_rows)):
            self._step(tf.constant(batch))
            after_batch()
        return compat.metric_results(self._model)
