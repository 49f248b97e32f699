"""What a model answers for images, and how each pixel changes it: for probabilities and logits."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_LEAST = 1e-7  # probabilities below have no logarithm that means something


class Answers:
    """A model as functions of images, on one device, in inference.

    Args:
        model: takes float32 images (rows, height, width, channels) in [0, 1], and gives
            (rows, classes).
        logits: whether it gives logits; else it gives probabilities.
    """

    def __init__(self, model: Any, logits: bool) -> None:
        self._model = model
        self._logits = logits
        self._graph = tf.function(self.eager)
        self._hiding = tf.function(self._hidden)
        self._slopes = tf.function(self._gradients)

    def __call__(self, images: Any, classes: Any) -> Any:
        """The probability of one class for each image, float32 (rows,).

        Args:
            images: float32 (rows, height, width, channels).
            classes: int32 (rows,).
        """
        return self._graph(images, classes)

    def eager(self, images: Any, classes: Any) -> Any:
        """The same outside of a graph, where the calls of layers can be watched."""
        return _of_classes(self._probabilities(images), classes)

    def hiding(self, images: Any, classes: Any, hidden: Any, colour: Any) -> Any:
        """The same where some pixels have another colour.

        Args:
            images: float32 (rows, height, width, channels).
            classes: int32 (rows,).
            hidden: bool (rows or 1, height, width, 1): which pixels.
            colour: float32 (channels,).
        """
        return self._hiding(images, classes, hidden, colour)

    def score(self, images: Any, classes: Any) -> Any:
        """A class's logit or log-probability, float32 (rows,): its slope does not vanish where the
        model is sure.
        """
        if self._logits:
            return _of_classes(self._outputs(images), classes)
        return tf.math.log(tf.maximum(self.eager(images, classes), _LEAST))

    def slopes(self, images: Any, classes: Any, of_probability: bool = False) -> Any:
        """How each value of the images changes the class's `score`, or its probability.

        Returns:
            float32, of the images' shape.
        """
        return self._slopes(images, classes, of_probability)

    def _hidden(self, images: Any, classes: Any, hidden: Any, colour: Any) -> Any:
        return self.eager(tf.where(hidden, colour, images), classes)

    def _gradients(self, images: Any, classes: Any, of_probability: bool) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            if of_probability:
                value = self.eager(images, classes)
            else:
                value = self.score(images, classes)
        return tape.gradient(value, images)

    def _probabilities(self, images: Any) -> Any:
        outputs = self._outputs(images)
        return tf.nn.softmax(outputs) if self._logits else outputs

    def _outputs(self, images: Any) -> Any:
        return tf.cast(self._model(images, training=False), tf.float32)


def _of_classes(values: Any, classes: Any) -> Any:
    """Of each row of values (rows, classes) that of its class."""
    return tf.gather(values, classes, batch_dims=1)
