"""Scoring a model on some rows, each counted exactly once under any strategy."""

from __future__ import annotations

from typing import Any, Callable, Dict

import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.dataset.source import Source, my_share


class Evaluator:
    """Scores a compiled model on rows of one source.

    Args:
        batch_rows: the most rows at a time.
    """

    def __init__(self, model: Any, strategy: Any, source: Source, batch_rows: int) -> None:
        self._model = model
        self._strategy = strategy
        self._source = source
        self._batch_rows = batch_rows
        self._step = tf.function(self._batch)

    def _batch(self, item: Any) -> None:
        self._strategy.run(self._replica, args=(item,))

    def _replica(self, item: Any) -> None:
        mine, _ = my_share(item)  # without weights: Keras counts the rows of a test step
        self._model.test_step(self._source.take(mine))

    def __call__(self, rows: Any, after_batch: Callable[[], None]) -> Dict[str, float]:
        """Score the model on `rows` (row numbers, int32). Resets the model's metrics first.

        Returns:
            the metrics by name: ``loss``, ``accuracy`` and those of a model that came compiled.
        """
        self._model.reset_metrics()
        for item in self._source.each(rows, self._batch_rows):
            self._step(item)
            after_batch()
        return compat.metric_results(self._model)
