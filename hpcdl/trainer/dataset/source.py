"""Gives batches: images from memory or files, scaled in the graph, split among the replicas."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from typing import Any, ContextManager, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.trainer.dataset.load import Part
from hpcdl.trainer.runtime.together import Together


class Slice(NamedTuple):
    """The rows of a batch that one of several workers trains on or scores.

    item: of these rows.
    first: the place of the first of them in the batch.
    rows: of the whole batch.
    """

    item: Any
    first: int
    rows: int


class Source:
    """The images and labels of one part: held once in host memory, or read from files.

    Images stay uint8 (a quarter of float32), and on the host even when GPUs train: copying a batch
    takes little of a step, and otherwise each replica would need all images. The part's own images
    are released.

    `take` turns an item into images. An item is row numbers if images are held, else a batch as it
    was read. `each` gives the items for scoring; a training loop opens a `feed` and pulls an item
    from it for each step. One of several workers gets `Slice`s: it reads its own rows alone.

    Args:
        part: of the data set.
        one_hot: give labels as one-hot float rows of this many classes; 0 gives class numbers.
        together: the replicas that share the batches; None for one.
    """

    def __init__(self, part: Part, one_hot: int = 0, together: Optional[Together] = None) -> None:
        self._replicas = 1 if together is None else together.replicas
        self._together = None if together is None or together.alone else together
        self.rows = part.rows
        self._reader = None if part.held else part.reader
        self._scale, self._shape, self._one_hot = part.scale, part.shape, one_hot
        with tf.device("CPU:0"):
            self._labels = tf.constant(part.labels)
            if part.held and part.reader is not None:
                self._images = part.reader.read_all()
            elif part.held:
                self._images = tf.constant(part.images)
        part.release_images()

    def feed(self, rows: Any, batch_rows: int) -> Any:
        """An iterator for `pull` that reads the images of `rows` ahead, in full batches only.

        Returns:
            None if the images are held.
        """
        if self._reader is None:
            return None
        if self._together is not None:
            first, last = self._own_rows(batch_rows)
            full_batches = len(rows) // batch_rows
            of_batches = np.reshape(rows[: full_batches * batch_rows], (-1, batch_rows))
            rows, batch_rows = of_batches[:, first:last].ravel(), last - first
        return iter(self._reader.batches(rows, batch_rows))

    def pull(self, feed: Any, indices: Any) -> Any:
        """In the graph: the next item of a feed, whose rows are `indices`."""
        if self._together is not None:
            rows = int(indices.shape[0])
            first, last = self._own_rows(rows)
            return Slice(self._pull(feed, indices[first:last]), first, rows)
        return self._pull(feed, indices)

    def _own_rows(self, batch_rows: int) -> Tuple[int, int]:
        """From which row of a batch to which, exclusive, this worker's replicas have theirs."""
        together = self._together
        assert together is not None  # noqa: S101 - for mypy
        first, last = batch_rows, 0
        for place in range(together.here):
            begin, end, _ = share(batch_rows, together.replicas, together.from_replica + place)
            first, last = min(first, begin), max(last, end)
        return first, last

    def _pull(self, feed: Any, indices: Any) -> Any:
        if self._reader is None:
            return indices
        with tf.device("CPU:0"):
            return next(feed), tf.gather(self._labels, indices)

    def each(self, rows: Any, batch_rows: int) -> Iterator[Any]:
        """The items of `rows` (row numbers, int32) in their order, of at most `batch_rows` rows.

        The batches are nearly equal, so that no small one remains, and every replica has rows:
        where there are few, a batch may have more than `batch_rows`. One of several workers gets a
        `Slice` of each.
        """
        batches = self._batches(rows, batch_rows)
        if self._together is None:
            yield from self._items(batches)
            return
        for equal in _of_equal_length(batches):
            size = len(equal[0])
            first, last = self._own_rows(size)
            own = np.concatenate([batch[first:last] for batch in equal])
            for item in self._items(np.split(own, len(equal))):
                yield Slice(item, first, size)

    def _batches(self, rows: Any, batch_rows: int) -> List[Any]:
        """Rows as nearly equal batches, with a row for each replica at least."""
        count = -(-len(rows) // batch_rows)
        if len(rows) // count < self._replicas:
            count = max(1, len(rows) // self._replicas)
        return list(np.array_split(rows, count))

    def each_whole(self, rows: Any, batch_rows: int) -> Iterator[Any]:
        """As `each`, but whole batches on several workers too: each of them reads all rows."""
        return self._items(np.array_split(rows, -(-len(rows) // batch_rows)))

    def _items(self, batches: List[Any]) -> Iterator[Any]:
        if self._reader is None:
            for batch in batches:
                yield tf.constant(batch)
            return
        for group in _of_equal_length(batches):  # as a reader gives them
            images = iter(self._reader.batches(np.concatenate(group), len(group[0])))
            for batch in group:
                with self.blaming():
                    read = next(images)
                yield read, tf.gather(self._labels, batch)

    def digest(self) -> Optional[str]:
        """A hash of the images, their order and their scale; None if they are read from files."""
        if self._reader is not None:
            return None
        sha256 = hashlib.sha256(memoryview(self._images)).hexdigest()
        return "{} times {}".format(sha256, self._scale)

    def blaming(self) -> ContextManager[None]:
        """A context that turns the failure to read an image into a `DataError` with all names."""
        if self._reader is None:
            return contextlib.nullcontext()
        return self._reader.blaming()

    def take(self, item: Any) -> Tuple[Any, Any]:
        """An item's float32 images (rows, height, width, channels) in [0, 1], and its labels.

        Labels are int32 (rows,), or with `one_hot` float32 (rows, classes).
        """
        if isinstance(item, tuple):
            images, labels = item
        else:
            with tf.device("CPU:0"):
                images, labels = tf.gather(self._images, item), tf.gather(self._labels, item)
        images = tf.cast(images, tf.float32)
        if self._scale != 1:
            images *= self._scale
        if self._one_hot:
            labels = tf.one_hot(labels, self._one_hot)
        return fitted(images, self._shape), labels

    def taught(self, answers: Any) -> Source:
        """A source of the same images with a teacher's answers in the labels.

        Args:
            answers: float32 (rows, classes).

        Returns:
            a source whose labels are float32 (rows, 1 + classes): the class number, the answers.
        """
        source = copy.copy(self)
        with tf.device("CPU:0"):
            source._labels = with_answers(self._labels, tf.constant(answers))
        return source

    def class_numbers(self, labels: Any) -> Any:
        """The class numbers, int32 (rows,), of labels as `take` gives them."""
        if self._labels.shape.rank == 2:  # taught
            return tf.cast(labels[:, 0], tf.int32)
        if self._one_hot:
            return tf.argmax(labels, axis=1, output_type=tf.int32)
        return labels


def _of_equal_length(batches: List[Any]) -> Iterator[List[Any]]:
    """Batches in groups: the first ones may have a row more than the last ones."""
    longer = sum(len(batch) > len(batches[-1]) for batch in batches)
    for group in (batches[:longer], batches[longer:]):
        if group:
            yield group


def with_answers(numbers: Any, answers: Any) -> Any:
    """Class numbers (rows,) and a teacher's answers (rows, classes) as labels, one row for each."""
    return tf.concat([tf.cast(numbers, tf.float32)[:, tf.newaxis], answers], axis=1)


def fitted(images: Any, shape: Tuple[int, ...]) -> Any:
    """Images converted to a shape (height, width, channels); features stay as they are."""
    if images.shape[1:] == shape or len(shape) != 3:
        return images
    if tuple(images.shape[1:3]) != shape[:2]:
        images = tf.image.resize(images, shape[:2], antialias=True)
    if images.shape[3] == shape[2]:
        return images
    if shape[2] == 3:
        return tf.image.grayscale_to_rgb(images)
    return tf.image.rgb_to_grayscale(images)


def share(rows: int, replicas: int, replica: int) -> Tuple[int, int, float]:
    """The slice of a batch that one replica trains on, and the weight of its rows.

    Keras takes the mean of the replicas' mean losses. With slices of unequal length, the weights
    make that the mean over the batch. A replica without rows (of a last batch with fewer rows than
    replicas) takes the batch's last row with weight 0: layers like batch normalisation fail
    without any row.

    Args:
        rows: of the batch.
        replicas: how many there are.
        replica: this one's number, from 0.

    Returns:
        (first, last, weight): rows first to last - 1 of the batch.
    """
    first, last = replica * rows // replicas, (replica + 1) * rows // replicas
    if first == last:
        return rows - 1, rows, 0.0
    return first, last, replicas * (last - first) / rows


def my_rows(rows: int) -> Tuple[int, int, float]:
    """Inside `strategy.run`: this replica's `share` of a batch with that many rows."""
    context = tf.distribute.get_replica_context()
    replica = int(tf.get_static_value(context.replica_id_in_sync_group))
    return share(rows, context.num_replicas_in_sync, replica)


def my_share(item: Any) -> Tuple[Any, float]:
    """Inside `strategy.run`: this replica's part of an item, and the weight of its rows."""
    if isinstance(item, Slice):
        first, last, weight = my_rows(item.rows)
        first, last, item = first - item.first, last - item.first, item.item
    else:
        first, last, weight = my_rows(int(tf.nest.flatten(item)[0].shape[0]))
    return tf.nest.map_structure(lambda tensor: tensor[first:last], item), weight
