"""How fast the images of a training come without its model: what its input alone can do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Tuple

import tensorflow as tf

from hpcdl.contract.spec import TrainSpec
from hpcdl.trainer.dataset import augment
from hpcdl.trainer.dataset.load import epoch_order
from hpcdl.trainer.dataset.source import my_rows, my_share

if TYPE_CHECKING:
    from hpcdl.trainer.fit.steps import TrainingData

_MOST_BATCHES = 100
_LONGEST_S = 20.0


def input_images_per_s(data: TrainingData, strategy: Any, train: TrainSpec) -> float:
    """Read, move to the devices and augment batches as a training does, and drop them.

    Rows are those of an epoch that was not trained: other ones, if an epoch does not have all.

    Args:
        data: what the model trains on.
        strategy: the tf.distribute strategy of the training.
        train: its settings.

    Returns:
        images a second, of all devices of this process and of other workers together.
    """
    epoch = train.epochs
    order = epoch_order(data.rows_of(epoch), train.seed, epoch)
    batch_rows = min(train.batch_size, len(order))
    order = order[: len(order) // batch_rows * batch_rows]
    reading = _Reading(data, strategy, order, batch_rows, train.seed)
    reading.read(1)  # traces the graph, and fills what reads ahead
    started, batches = time.perf_counter(), 0
    most = min(_MOST_BATCHES, len(order) // batch_rows)
    while batches < most and time.perf_counter() - started < _LONGEST_S:
        count = min(10, most - batches)
        reading.read(count)
        batches += count
    return batches * batch_rows / (time.perf_counter() - started)


class _Reading:
    """Reads the batches of an epoch one after the other, from the first again at its end.

    Args:
        data: what a model trains on.
        strategy: the tf.distribute strategy.
        order: the rows, int32: whole batches.
        batch_rows: rows of a batch.
        seed: of the augmentation.
    """

    def __init__(
        self, data: TrainingData, strategy: Any, order: Any, batch_rows: int, seed: int
    ) -> None:
        self._data = data
        self._strategy = strategy
        self._rows = order
        self._order = tf.constant(order)
        self._batch_rows = batch_rows
        self._batches = len(order) // batch_rows
        self._numbers: Any = None
        if data.augmentation:
            with tf.device("CPU:0"):
                self._numbers = tf.constant(augment.draw(len(order), seed, 0))
        self._place = 0
        self._feed: Any = None
        self._call = tf.function(self._graph)

    def read(self, count: int) -> None:
        """Read that many batches, up to the end of the epoch."""
        if self._place + count > self._batches:
            self._place = 0
        if self._place == 0:
            self._feed = self._data.source.feed(self._rows, self._batch_rows)
        number = tf.constant([self._place, count], tf.int64)
        self._place += count
        with self._data.source.blaming():
            float(self._call(number, self._order, self._numbers, self._feed))

    def _graph(self, number: Any, order: Any, numbers: Any, feed: Any) -> Any:
        """The sum of all images, so that TensorFlow leaves none of them out."""
        total = tf.constant(0.0)
        for step in tf.range(number[0], number[0] + number[1]):
            with tf.device("CPU:0"):
                start = step * self._batch_rows
                rows = tf.slice(order, [start], [self._batch_rows])
                item = self._data.source.pull(feed, rows)
                drawn = ()
                if numbers is not None:
                    drawn = tf.slice(numbers, [start, 0], [self._batch_rows, numbers.shape[1]])
            result = self._strategy.run(self._replica, args=((item, drawn),))
            total += tf.add_n(self._strategy.experimental_local_results(result))
        return total

    def _replica(self, batch: Tuple[Any, Any]) -> Any:
        """One replica's part of a batch, as it enters the model."""
        item, drawn = batch
        item, _ = my_share(item)
        first, last, _ = my_rows(self._batch_rows)
        drawn = tf.nest.map_structure(lambda numbers: numbers[first:last], drawn)
        images, _ = self._data.source.take(item)
        if self._data.augmentation:
            images = augment.augmented(images, drawn, self._data.augmentation)
        return tf.reduce_sum(tf.cast(images, tf.float32))
