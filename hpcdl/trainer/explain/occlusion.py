"""Occlusion: how far the answer's probability falls where a square of the image is hidden."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import tensorflow as tf

from hpcdl.trainer.explain.answers import Answers
from hpcdl.trainer.explain.squares import squares


def occlusion(
    answers: Answers, images: Any, classes: Any, colour: Any, beat: Callable[[], None]
) -> Any:
    """Heat maps without gradients. Source: https://arxiv.org/abs/1311.2901, section 4.2.

    Args:
        answers: the model.
        images: float32 (rows, height, width, channels) in [0, 1].
        classes: int32 (rows,), whose probability is asked for.
        colour: float32 (channels,), of the square.
        beat: called after each position of the square.

    Returns:
        float32 (rows, height, width): the mean fall over the squares that hide a pixel.
    """
    rows, height, width = images.shape[:3]
    before = answers(images, classes).numpy()
    fall_sum = np.zeros((rows, height, width), np.float32)
    count = np.zeros((height, width), np.float32)
    for top, bottom, left, right in squares(height, width):
        hidden = np.zeros((1, height, width, 1), bool)
        hidden[:, top:bottom, left:right] = True
        after = answers.hiding(images, classes, tf.constant(hidden), colour).numpy()
        fall_sum[:, top:bottom, left:right] += (before - after)[:, None, None]
        count[top:bottom, left:right] += 1
        beat()
    return fall_sum / count
