"""Batches: rows gathered from memory and scaled inside the graph, shared out to the replicas."""

from __future__ import annotations

from typing import Any, Tuple

import tensorflow as tf

from hpcdl.trainer.data import Part


class Source:
    """The images and labels of one part of the data set, held once, in host memory, as they were stored.

    Images stay uint8 (a quarter of float32), and on the host also when GPUs train: a batch is small
    against a step, and each replica would otherwise need all images. The part's own images are released.
    """

    def __init__(self, part: Part) -> None:
        with tf.device("CPU:0"):
            self._images = tf.constant(part.images)
            self._labels = tf.constant(part.labels)
        self._scale = part.scale
        part.release_images()

    def take(self, rows: Any) -> Tuple[Any, Any]:
        """Gather some rows: float32 images (rows, height, width, channels) in [0, 1], int32 labels."""
        with tf.device("CPU:0"):
            images, labels = tf.gather(self._images, rows), tf.gather(self._labels, rows)
        images = tf.cast(images, tf.float32)
        return (images if self._scale == 1 else images * self._scale), labels


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


def my_share(indices: Any) -> Tuple[Any, float]:
    """Inside `strategy.run`: this replica's part of a batch's row numbers, and their weight."""
    context = tf.distribute.get_replica_context()
    replica = int(tf.get_static_value(context.replica_id_in_sync_group))
    first, last, weight = share(int(indices.shape[0]), context.num_replicas_in_sync, replica)
    return indices[first:last], weight
