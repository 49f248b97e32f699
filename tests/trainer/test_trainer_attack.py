"""Adversarial examples: within epsilon, towards the wrong answer, also where a model is sure."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.contract.errors import UserCodeError


class Linear:
    """A model of two classes with a known gradient: bright pixels on the left speak for class 0."""

    def __init__(self, tf, sureness, logits):
        self.tf, self.sureness, self.logits = tf, sureness, logits

    def __call__(self, images, training):
        assert training is False
        left = self.tf.reduce_sum(images[:, :, :2], axis=[1, 2, 3])
        right = self.tf.reduce_sum(images[:, :, 2:], axis=[1, 2, 3])
        outputs = self.sureness * self.tf.stack([left, right], axis=1)
        return outputs if self.logits else self.tf.nn.softmax(outputs)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0.0, 1.0, (6, 4, 4, 1)).astype(np.float32)


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("sureness", [0.1, 6])  # 6: the right probability is exactly 1
def test_attack_goes_the_worst_way(tf, images, logits, sureness):
    from hpcdl.trainer.fit.attack import Attack, attacked

    images[:, :, :2] += 1  # class 0, and above white where it is cut off
    images = np.clip(images, 0, 1)
    worst = images.copy()
    worst[:, :, :2] -= 0.25
    worst[:, :, 2:] += 0.25
    worst = np.clip(worst, 0, 1)
    model, zeros = Linear(tf, sureness, logits), tf.zeros(6, tf.int32)
    noise = tf.random.stateless_uniform(images.shape, [1, 2], -1.0, 1.0)
    for steps, start in ((1, None), (5, noise)):
        attack = Attack(0.25, steps, logits)
        changed = attacked(model, tf.constant(images), zeros, attack, start)
        np.testing.assert_allclose(changed, worst, atol=1e-6)


def test_one_step_from_noise(tf, images):
    from hpcdl.trainer.fit.attack import Attack, attacked

    noise = np.full(images.shape, -1.0, np.float32)
    change = (
        attacked(Linear(tf, 1, True), tf.constant(images), tf.ones(6, tf.int32), Attack(0.1), noise)
        - images
    )
    assert np.abs(change).max() <= 0.1 + 1e-6
    inner = (images > 0.1) & (images < 0.9)
    np.testing.assert_allclose(change.numpy()[:, :, :2][inner[:, :, :2]], 0.025, atol=1e-6)
    np.testing.assert_allclose(change.numpy()[:, :, 2:][inner[:, :, 2:]], -0.1, atol=1e-6)


def test_models_that_cannot_be_attacked(tf, images):
    from hpcdl.trainer.fit.attack import Attack, attacked

    ones = tf.ones(6, tf.int32)
    with pytest.raises(UserCodeError, match="one value for each class"):
        attacked(lambda images, training: images, tf.constant(images), ones, Attack(0.1))
    with pytest.raises(UserCodeError, match="no gradient"):
        attacked(lambda images, training: tf.ones([6, 2]), tf.constant(images), ones, Attack(0.1))
