"""Adversarial examples: images changed a little so that a model errs, by FGSM and PGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from hpcdl.contract.errors import UserCodeError

_SMALLEST = 1e-37  # a probability below it counts as this one: float32 has hardly smaller ones


@dataclass(frozen=True)
class Attack:
    """How images are changed.

    epsilon: how far each value of an image may go either way, where black is 0 and white is 1.
    steps: 1 for FGSM (https://arxiv.org/abs/1412.6572), more for PGD
        (https://arxiv.org/abs/1706.06083).
    logits: whether the model gives logits; else it gives probabilities.
    """

    epsilon: float
    steps: int = 1
    logits: bool = False

    def step_size(self, from_noise: bool) -> float:
        """How far one step goes.

        For PGD that is 2.5 epsilon / steps, as in section 5 of its paper. One step from noise goes
        1.25 epsilon, as in https://arxiv.org/abs/2001.03994; one from the image itself, epsilon.
        """
        if self.steps > 1:
            return 2.5 * self.epsilon / self.steps
        return 1.25 * self.epsilon if from_noise else self.epsilon


def attacked(model: Any, images: Any, numbers: Any, attack: Attack, noise: Any = None) -> Any:
    """Images within epsilon of the given ones that the model gets wrong, if the attack succeeds.

    The model answers as it does after its training: nothing is dropped, and normalisation gathers
    nothing. So the attack changes no variable, and no metric counts it.

    Args:
        model: gives (rows, classes) for images.
        images: float32 (rows, height, width, channels) in [0, 1].
        numbers: the right class numbers, int32 (rows,).
        attack: how to change them.
        noise: float32 like the images, in [-1, 1): the attack starts at the images plus epsilon
            times this. Without it, at the images themselves.

    Returns:
        images of the same shape and range, without gradients.

    Raises:
        UserCodeError: the model does not give a value for each class, or has no gradient.
    """
    size = attack.step_size(noise is not None)
    lowest = tf.maximum(images - attack.epsilon, 0.0)
    highest = tf.minimum(images + attack.epsilon, 1.0)
    changed = images
    if noise is not None:
        changed = tf.clip_by_value(images + attack.epsilon * noise, lowest, highest)
    for _ in range(attack.steps):
        slope = tf.sign(_gradient(model, changed, numbers, attack.logits))
        changed = tf.clip_by_value(changed + size * slope, lowest, highest)
    return tf.stop_gradient(changed)


def _gradient(model: Any, images: Any, numbers: Any, logits: bool) -> Any:
    """How the model errs more with each value of the images, float32 like the images."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        outputs = model(images, training=False)
        if not tf.is_tensor(outputs) or outputs.shape.rank != 2:
            message = "this model cannot be attacked: it does not give one value for each class"
            raise UserCodeError(message, "leave out train.adversarial and test.attack")
        loss = tf.reduce_sum(_wrongness(outputs, numbers, logits))
    gradient = tape.gradient(loss, images)
    if gradient is None:
        message = "this model cannot be attacked: what it gives has no gradient by its images"
        raise UserCodeError(message, "leave out train.adversarial and test.attack")
    return gradient


def _wrongness(outputs: Any, numbers: Any, logits: bool) -> Any:
    """How much more the model believes in the wrong classes than in the right one, (rows,).

    It is the logarithm of the odds of being wrong. The cross-entropy is log(1 + odds), so that its
    gradient is this one's times the probability of being wrong: the same sign. But where a model is
    sure, that probability is 0 in float16 or float32, and the gradient of cross-entropy is lost.
    Keras's also cuts off probabilities near 1, and its compute_loss would count the attack's loss
    into the epoch's.
    """
    outputs = tf.cast(outputs, tf.float32)
    right = tf.one_hot(numbers, outputs.shape[-1])
    scores = outputs if logits else tf.math.log(tf.maximum(outputs, _SMALLEST))
    wrong_scores = tf.where(right > 0, tf.constant(-float("inf")), scores)
    right_scores = tf.reduce_sum(right * scores, axis=-1)
    return tf.reduce_logsumexp(wrong_scores, axis=-1) - right_scores
