"""The learning rate of each step: a function of its number alone, so that an interrupted run goes on as the whole."""

from __future__ import annotations

import math
from typing import Any, Callable

import tensorflow as tf

from hpcdl.trainer.spec import ScheduleSpec

Rate = Callable[[Any], Any]


def rate_of(spec: ScheduleSpec, base: float, steps_per_epoch: int, epochs: int) -> Rate:
    """The learning rate as a function of the step (from 0), in TensorFlow.

    With e, the epochs that the step has behind it (a fraction), and d, those behind it since the warm-up:
    step gives base * factor^floor(d / every), exponential base * factor^(d / every), cosine goes from base to
    base * factor along half a cosine until the last step; during warm-up it grows in a straight line.

    Args:
        spec: the schedule.
        base: the optimizer's learning rate.
        steps_per_epoch: steps of an epoch.
        epochs: epochs of the whole training.

    Source of the cosine: https://arxiv.org/abs/1608.03983, equation 5.
    """
    factor = spec.factor if spec.factor is not None else (0.0 if spec.name == "cosine" else 0.1)
    warm = spec.warmup_epochs * steps_per_epoch
    rest = max(1.0, epochs * steps_per_epoch - warm)

    def decayed(since: Any) -> Any:
        if spec.name == "cosine":
            share = tf.minimum(since / rest, 1.0)
            return factor + (1 - factor) * (1 + tf.cos(math.pi * share)) / 2
        if spec.name == "constant":
            return tf.ones_like(since)
        times = since / (spec.every_epochs * steps_per_epoch)
        return tf.pow(tf.cast(factor, tf.float64), tf.floor(times) if spec.name == "step" else times)

    def rate(step: Any) -> Any:
        done = tf.cast(step, tf.float64)  # a float32 cannot count all steps of a long run
        scale = decayed(tf.maximum(done - warm, 0.0))
        if warm:
            scale *= tf.minimum((done + 1) / warm, 1.0)
        return tf.cast(base * scale, tf.float32)

    return rate
