"""Batches: rows from memory or read ahead from files, scaled inside the graph, shared out to the replicas."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, ContextManager, Iterator, Optional, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.trainer.dataset.load import Part


class Source:
    """The images and labels of one part of the data set: held once in host memory, or read from files on the way.

    Images stay uint8 (a quarter of float32), and on the host also when GPUs train: a batch is small
    against a step, and each replica would otherwise need all images. The part's own images are released.

    What `take` makes images of is an item: row numbers where images are held, else a batch as it was read.
    `each` gives the items for scoring; a training loop opens a `feed` and pulls one from it for each step.

    Args:
        one_hot: give labels as one-hot float rows of so many classes; 0 gives class numbers.
    """

    def __init__(self, part: Part, one_hot: int = 0) -> None:
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
        """What reads the images of `rows` ahead, for `pull`: full batches only; None where they are held."""
        return None if self._reader is None else iter(self._reader.batches(rows, batch_rows))

    def pull(self, feed: Any, indices: Any) -> Any:
        """In the graph: the next item of a feed, whose rows are `indices`."""
        if self._reader is None:
            return indices
        with tf.device("CPU:0"):
            return next(feed), tf.gather(self._labels, indices)

    def each(self, rows: Any, batch_rows: int) -> Iterator[Any]:
        """The items of `rows` (row numbers, int32) in their order, at most so many rows each.

        They are cut into nearly equal batches, so that none is left over and every replica has rows in each.
        """
        batches = np.array_split(rows, -(-len(rows) // batch_rows))
        if self._reader is None:
            for batch in batches:
                yield tf.constant(batch)
            return
        longer = sum(len(batch) > len(batches[-1]) for batch in batches)
        for group in (batches[:longer], batches[longer:]):
            images = (
                iter(self._reader.batches(np.concatenate(group), len(group[0])))
                if group
                else iter(())
            )
            for batch in group:
                with self.blaming():
                    read = next(images)
                yield read, tf.gather(self._labels, batch)

    def digest(self) -> Optional[str]:
        """A hash of the images and their order, as they are held; None where they are read from files."""
        if self._reader is not None:
            return None
        return hashlib.sha256(memoryview(self._images)).hexdigest() + " times {}".format(
            self._scale
        )

    def blaming(self) -> ContextManager[None]:
        """A context in which images that cannot be read become a `DataError` with their names."""
        return contextlib.nullcontext() if self._reader is None else self._reader.blaming()

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
        if self._one_hot:
            labels = tf.one_hot(labels, self._one_hot)
        return _fitted(images if self._scale == 1 else images * self._scale, self._shape), labels

    def class_numbers(self, labels: Any) -> Any:
        """The class numbers, int32 (rows,), of labels as `take` gives them."""
        return tf.argmax(labels, axis=1, output_type=tf.int32) if self._one_hot else labels


def _fitted(images: Any, shape: Tuple[int, ...]) -> Any:
    """Images brought to (height, width, channels); features and images that have that shape stay as they are."""
    if images.shape[1:] == shape or len(shape) != 3:
        return images
    if tuple(images.shape[1:3]) != shape[:2]:
        images = tf.image.resize(images, shape[:2], antialias=True)
    if images.shape[3] == shape[2]:
        return images
    return tf.image.grayscale_to_rgb(images) if shape[2] == 3 else tf.image.rgb_to_grayscale(images)


def share(rows: int, replicas: int, replica: int) -> Tuple[int, int, float]:
    """The slice of a batch that one replica trains on, and the weight of its rows.

    Keras takes the mean of the replicas' mean losses. With slices of unequal length, the weights make
    that the mean over the batch. A replica left without rows (a last batch with fewer rows than
    replicas) takes the batch's last one with weight 0: layers like batch normalisation break on none.

    Returns:
        (first, last, weight): rows first to last - 1 of the batch.
    """
    first, last = replica * rows // replicas, (replica + 1) * rows // replicas
    if first == last:
        return rows - 1, rows, 0.0
    return first, last, replicas * (last - first) / rows


def my_share(item: Any) -> Tuple[Any, float]:
    """Inside `strategy.run`: this replica's part of an item, and the weight of its rows."""
    context = tf.distribute.get_replica_context()
    replica = int(tf.get_static_value(context.replica_id_in_sync_group))
    first, last, weight = share(
        int(tf.nest.flatten(item)[0].shape[0]), context.num_replicas_in_sync, replica
    )
    return tf.nest.map_structure(lambda tensor: tensor[first:last], item), weight
