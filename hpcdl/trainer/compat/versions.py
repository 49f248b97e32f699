"""Which Keras this is."""

from __future__ import annotations

import importlib
from typing import Tuple

import tensorflow as tf


def keras_version() -> str:
    """The version of tf.keras.

    tf.keras does not say it itself in TensorFlow 2.16 with Keras 3.0, nor if
    ``TF_USE_LEGACY_KERAS=1`` makes it the package tf_keras. Then the package of its classes does.
    """
    version = getattr(tf.keras, "__version__", None)
    if version is None:
        package = tf.keras.Model.__module__.partition(".")[0]
        version = importlib.import_module(package).__version__
    return str(version)


def keras_release() -> Tuple[int, int]:
    """The first two numbers of the version: (3, 7) for Keras 3.7.0."""
    major, minor = keras_version().split(".")[:2]
    return int(major), int(minor)


def is_keras_3() -> bool:
    """Whether tf.keras is Keras 3."""
    return not keras_version().startswith("2.")
