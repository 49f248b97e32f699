"""Which numbers a run computes with: mixed precision where the device gains by it, and why."""

from __future__ import annotations

from typing import Tuple

import tensorflow as tf

from hpcdl.trainer.output import say
from hpcdl.trainer.spec import FunctionSpec, ModelSpec

TENSOR_CORES = 7  # the compute capability from which GPUs have them: https://developer.nvidia.com/cuda-gpus


def choose(wanted: str, model: ModelSpec) -> Tuple[str, str]:
    """The Keras policy of a run, and the reason for it.

    Must be called after the devices were chosen: GPUs that the run does not use count for nothing.

    Args:
        wanted: train.precision.
    """
    if wanted != "auto":
        return wanted, "train.precision"
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return "float32", "no GPU"
    if isinstance(model, FunctionSpec):
        return "float32", "train.precision: mixed_float16 is faster, if the function's last layer has dtype float32"
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        if capability[0] < TENSOR_CORES:
            has = "{} has compute capability {}.{}".format(details.get("device_name", "a GPU"), *capability)
            return "float32", "{}; tensor cores come with {}.0".format(has, TENSOR_CORES)
    return "mixed_float16", "all GPUs have tensor cores"


def set_precision(wanted: str, model: ModelSpec) -> str:
    """Make the models built from here on compute with what `choose` says, and tell the log; returns the policy."""
    policy, reason = choose(wanted, model)
    tf.keras.mixed_precision.set_global_policy(policy)
    say("precision: {} ({})".format(policy, reason))
    return policy
