"""The loss and the accuracy of a model that learns from a teacher.

Labels are rows of [class number, the teacher's logarithms of probabilities]; see `Source.taught`.
Labels of validation and test are class numbers alone: there the loss is the plain cross-entropy.
"""

from __future__ import annotations

from typing import Any, Tuple

import tensorflow as tf

from hpcdl.contract.spec import DistillSpec

_SMALLEST = 1e-37  # a probability below it counts as this one: float32 has hardly smaller ones


def logarithms(outputs: Any, logits: bool) -> Any:
    """The logarithm of each probability that a model gives, float32 (rows, classes)."""
    outputs = tf.cast(outputs, tf.float32)
    if logits:
        return tf.nn.log_softmax(outputs)
    return tf.math.log(tf.maximum(outputs, _SMALLEST))


def loss(spec: DistillSpec, logits: bool, label_smoothing: float) -> Any:
    """The loss of `DistillSpec`, with label smoothing of the labels' part."""

    def distilled_loss(labels: Any, outputs: Any) -> Any:
        numbers, answers = _apart(labels, outputs)
        student = logarithms(outputs, logits)
        classes = outputs.shape[-1]
        targets = tf.one_hot(numbers, classes) * (1 - label_smoothing) + label_smoothing / classes
        hard = -tf.reduce_sum(targets * student, axis=-1)
        if answers is None:
            return hard
        teacher = tf.nn.log_softmax(answers / spec.temperature)
        gap = teacher - tf.nn.log_softmax(student / spec.temperature)
        soft = tf.reduce_sum(tf.exp(teacher) * gap, axis=-1) * spec.temperature**2
        return (1 - spec.alpha) * hard + spec.alpha * soft

    return distilled_loss


def accuracy() -> Any:
    """The metric ``accuracy``: the share of rows whose class is the likeliest."""

    def right(labels: Any, outputs: Any) -> Any:
        numbers, _ = _apart(labels, outputs)
        return tf.cast(tf.equal(numbers, tf.argmax(outputs, -1, tf.int32)), tf.float32)

    return tf.keras.metrics.MeanMetricWrapper(right, name="accuracy")


def _apart(labels: Any, outputs: Any) -> Tuple[Any, Any]:
    """The class numbers, int32 (rows,), and the teacher's answers; None without them."""
    if labels.shape.rank == 2 and labels.shape[-1] == outputs.shape[-1] + 1:
        return tf.cast(labels[:, 0], tf.int32), labels[:, 1:]
    return tf.cast(tf.reshape(labels, [-1]), tf.int32), None
