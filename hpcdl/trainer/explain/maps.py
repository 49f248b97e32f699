"""Heat as pictures, and how far the answer falls where the hottest pixels are hidden."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hpcdl.trainer.explain.answers import Answers
from hpcdl.trainer.explain.squares import hottest_tenth, shades


class Falls(NamedTuple):
    """How far the probability of each image's class falls, float32 (rows,).

    hottest: where the hottest tenth of the pixels has the mean colour.
    random: where as many pixels by chance have it.
    """

    hottest: Any
    random: Any


def falls(answers: Answers, images: Any, classes: Any, colour: Any, heat: Any) -> Falls:
    """Hide the hottest tenth of each image, and a random tenth.

    A little blur breaks ties and takes the speckle out, alike for all methods.

    Args:
        answers: the model.
        images: float32 (rows, height, width, channels) in [0, 1].
        classes: int32 (rows,), whose probability is asked for.
        colour: float32 (channels,), that hides.
        heat: float32 (rows, height, width).
    """
    before = answers(images, classes).numpy()
    blurred = tf.nn.avg_pool2d(tf.constant(heat)[..., None], 3, 1, "SAME").numpy()[..., 0]
    chance = np.random.default_rng(0).random(heat.shape)
    fallen = []
    for order in (blurred, chance):
        hidden = tf.constant(hottest_tenth(order)[..., None])
        fallen.append(before - answers.hiding(images, classes, hidden, colour).numpy())
    return Falls(*fallen)


def as_bytes(heat: Any, height: int, width: int) -> Any:
    """Heat as uint8 (rows, height, width): 0 is none, 255 the hottest of each image.

    Args:
        heat: float32 (rows, any height, any width).
        height: in pixels.
        width: in pixels.
    """
    heat = np.maximum(heat, 0)
    if heat.shape[1:] != (height, width):
        heat = tf.image.resize(heat[..., None], [height, width], method="area").numpy()[..., 0]
    return shades(heat)
