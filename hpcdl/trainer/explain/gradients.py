"""Heat maps from the slopes of the answer: saliency, SmoothGrad and integrated gradients."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import tensorflow as tf

from hpcdl.trainer.explain.answers import Answers

INTEGRATION_STEPS = 32
NOISY_COPIES = 25
_NOISE = 0.1  # standard deviation, where white is 1


def saliency(answers: Answers, images: Any, classes: Any) -> Any:
    """The size of the answer's slope at each pixel: https://arxiv.org/abs/1312.6034, section 3.

    Args:
        answers: the model.
        images: float32 (rows, height, width, channels) in [0, 1].
        classes: int32 (rows,).

    Returns:
        float32 (rows, height, width): of the channels the largest.
    """
    return tf.reduce_max(abs(answers.slopes(images, classes)), axis=-1).numpy()


def smooth_grad(
    answers: Answers, images: Any, classes: Any, seed: int, beat: Callable[[], None]
) -> Any:
    """The mean of the slopes' sizes over noisy copies: https://arxiv.org/abs/1706.03825.

    Args:
        answers: the model.
        images: float32 (rows, height, width, channels) in [0, 1].
        classes: int32 (rows,).
        seed: of the noise.
        beat: called after each copy.

    Returns:
        float32 (rows, height, width).
    """
    total = tf.zeros_like(images)
    for copy in range(NOISY_COPIES):
        noise = tf.random.stateless_normal(images.shape, [seed, copy], stddev=_NOISE)
        total += abs(answers.slopes(images + noise, classes))
        beat()
    return tf.reduce_max(total / NOISY_COPIES, axis=-1).numpy()


def integrated_gradients(
    answers: Answers, images: Any, classes: Any, beat: Callable[[], None]
) -> Tuple[Any, float]:
    """The slopes of the probability, added up from black to the image.

    Together they are the difference between the probability of the image and that of black. By how
    much they miss it tells whether the steps were small enough.
    Source: https://arxiv.org/abs/1703.01365, sections 3 and 5.

    Args:
        answers: the model.
        images: float32 (rows, height, width, channels) in [0, 1].
        classes: int32 (rows,).
        beat: called after each step.

    Returns:
        float32 (rows, height, width), and the largest miss of all rows.
    """
    total = tf.zeros_like(images)
    for step in range(INTEGRATION_STEPS):
        share = tf.constant((step + 0.5) / INTEGRATION_STEPS)
        total += answers.slopes(images * share, classes, of_probability=True)
        beat()
    parts = images * total / INTEGRATION_STEPS
    whole = answers(images, classes) - answers(tf.zeros_like(images), classes)
    gap = abs(tf.reduce_sum(parts, axis=[1, 2, 3]) - whole)
    return tf.reduce_sum(abs(parts), axis=-1).numpy(), float(tf.reduce_max(gap))
