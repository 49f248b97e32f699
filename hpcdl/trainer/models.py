"""The models a run can train: mlp, cnn, and what the user's own function builds."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Iterator, List, Tuple

import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.checks import kernel_sizes
from hpcdl.trainer.errors import RunError, UserCodeError
from hpcdl.trainer.spec import CnnSpec, FunctionSpec, MlpSpec, ModelSpec


def build(spec: ModelSpec, image_shape: Tuple[int, ...], classes: int) -> Any:
    """Build a Keras model for float32 images in [0, 1].

    Args:
        image_shape: (height, width, channels).
        classes: the number of classes, the width of the output.

    Raises:
        UserCodeError: when the user's function raises, or its model does not fit the data.
    """
    if isinstance(spec, FunctionSpec):
        with blame_user_code(spec, "failed"):
            return _from_function(spec, image_shape, classes)
    features = _mlp(spec) if isinstance(spec, MlpSpec) else _cnn(spec)
    output = "softmax" if spec.output == "softmax" else None
    last = tf.keras.layers.Dense(classes, activation=output, name="classes")
    return tf.keras.Sequential([tf.keras.Input(image_shape), *features, last], name=spec.name)


def _mlp(spec: MlpSpec) -> List[Any]:
    layers: List[Any] = [tf.keras.layers.Flatten()]
    for units in spec.dense:
        layers += _activated(tf.keras.layers.Dense, [units], spec) + _dropout(spec.dropout)
    return layers


def _cnn(spec: CnnSpec) -> List[Any]:
    layers: List[Any] = []
    for filters, kernel in zip(spec.filters, kernel_sizes(spec)):
        layers += _activated(tf.keras.layers.Conv2D, [filters, kernel], spec)
        layers.append(tf.keras.layers.MaxPooling2D(2))
    layers += [tf.keras.layers.Flatten(), *_dropout(spec.dropout)]
    for units in spec.dense:
        layers += _activated(tf.keras.layers.Dense, [units], spec) + _dropout(spec.dropout)
    return layers


def _activated(layer: Any, sizes: List[int], spec: Any) -> List[Any]:
    if not spec.batch_norm:
        return [layer(*sizes, activation=spec.activation)]
    return [
        layer(*sizes, use_bias=False),  # the normalisation has one
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Activation(spec.activation),
    ]


def _dropout(share: float) -> List[Any]:
    return [tf.keras.layers.Dropout(share)] if share else []


def _from_function(spec: FunctionSpec, image_shape: Tuple[int, ...], classes: int) -> Any:
    module, _, name = spec.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    model = function(image_shape, classes, **spec.args)
    if not isinstance(model, tf.keras.Model):
        raise UserCodeError("{} returned {!r}; expected a keras Model".format(spec.function, model))
    output = model(tf.zeros((1, *image_shape)), training=False)  # also builds what is not built yet
    shape = tuple(getattr(output, "shape", ()))
    if shape != (1, classes) and not compat.is_compiled(model):
        raise UserCodeError(
            "the model of {} gives {} for one image; expected (1, {}), a value for each class".format(
                spec.function, shape or type(output).__name__, classes
            )
        )
    return model


@contextlib.contextmanager
def blame_user_code(spec: ModelSpec, failed: str) -> Iterator[None]:
    """Turn what goes wrong inside into a `UserCodeError` when the model is the user's own.

    Memory running out is left alone: that is nobody's code.
    """
    if not isinstance(spec, FunctionSpec):
        yield
        return
    try:
        yield
    except (RunError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except (Exception, SystemExit) as error:
        message = "model.function {} {}: {}: {}".format(spec.function, failed, type(error).__name__, error)
        hint = "its module must be beside the job file or in the image" if isinstance(error, ImportError) else ""
        raise UserCodeError(message, hint) from error
