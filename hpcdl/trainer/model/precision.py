"""Which numbers a run computes with, and why."""

from __future__ import annotations

from typing import Tuple

import tensorflow as tf

from hpcdl.trainer.runtime.log import say


def choose(wanted: str) -> Tuple[str, str]:
    """The Keras policy of a run, and the reason for it.

    ``auto`` is float32: what mixed precision gains depends on the model and the GPU, and it changes the
    results. On GPUs that have it, TensorFlow computes float32's matrix products in TF32 by itself.

    Args:
        wanted: train.precision.
    """
    if wanted != "auto":
        return wanted, "train.precision"
    if tf.config.get_visible_devices("GPU"):
        return (
            "float32",
            "auto; try train.precision: mixed_float16, which can be faster on this GPU",
        )
    return "float32", "auto"


def set_precision(wanted: str) -> str:
    """Make the models built from here on compute with what `choose` says, and tell the log; returns the policy."""
    policy, reason = choose(wanted)
    tf.keras.mixed_precision.set_global_policy(policy)
    say("precision: {} ({})".format(policy, reason))
    return policy
