"""Which numbers a run computes with, and why."""

from __future__ import annotations

from typing import Tuple

import tensorflow as tf

from hpcdl.trainer.runtime.log import say


def choose_policy(precision: str) -> Tuple[str, str]:
    """The Keras policy of a run, and the reason for it.

    ``auto`` is float32: what mixed precision gains depends on the model and the GPU, and it changes
    the results. On GPUs that have it, TensorFlow computes float32's matrix products in TF32 anyway.

    Args:
        precision: train.precision.
    """
    if precision != "auto":
        return precision, "train.precision"
    if tf.config.get_visible_devices("GPU"):
        hint = "auto; try train.precision: mixed_float16, which can be faster on this GPU"
        return "float32", hint
    return "float32", "auto"


def set_precision(precision: str) -> str:
    """Set and log the Keras policy of the models that are built from here on; returns it."""
    policy, reason = choose_policy(precision)
    tf.keras.mixed_precision.set_global_policy(policy)
    say("precision: {} ({})".format(policy, reason))
    return policy
