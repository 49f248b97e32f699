"""The models a run can train: mlp, cnn, resnet, one on a backbone, and a user's own."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Dict, Iterator, List, Tuple

import tensorflow as tf

from hpcdl.contract.checks import kernel_sizes
from hpcdl.contract.errors import TrainingError, UserCodeError
from hpcdl.contract.spec import (
    BackboneSpec,
    CnnSpec,
    FunctionSpec,
    MlpSpec,
    ModelSpec,
    ResnetSpec,
    SpecError,
)
from hpcdl.trainer import compat
from hpcdl.trainer.model.backbone import add_backbone
from hpcdl.trainer.runtime.peers import peer_lost


def build(spec: ModelSpec, image_shape: Tuple[int, ...], classes: int) -> Any:
    """Build a Keras model for float32 images in [0, 1].

    Args:
        image_shape: (height, width, channels).
        classes: the number of classes, the width of the output.

    Raises:
        UserCodeError: the user's function raises, or its model does not fit the data.
    """
    with compat.whole_numbers_apart():
        return _build(spec, image_shape, classes)


def _build(spec: ModelSpec, image_shape: Tuple[int, ...], classes: int) -> Any:
    if isinstance(spec, FunctionSpec):
        with blame_user_code(spec, "failed"):
            return _from_function(spec, image_shape, classes)
    output = "softmax" if spec.output == "softmax" else None
    last = tf.keras.layers.Dense(
        classes, activation=output, name="classes", dtype="float32", **_kernel(spec)
    )
    if isinstance(spec, ResnetSpec):
        return _resnet(spec, image_shape, last)
    if isinstance(spec, BackboneSpec):
        return _on_backbone(spec, image_shape, last)
    features = _mlp(spec) if isinstance(spec, MlpSpec) else _cnn(spec)
    return tf.keras.Sequential([tf.keras.Input(image_shape), *features, last], name=spec.name)


def describe(model: Any) -> str:
    """A line for people: a model's parameters, how many of them train, and the frozen layers."""
    frozen = []
    for layer in model.layers:
        frozen += _frozen_in(layer)
    return "{:,} parameters, {:,} of them train; frozen: {}".format(
        compat.parameters(model.weights),
        compat.parameters(model.trainable_weights),
        ", ".join(frozen) or "nothing",
    )


def _frozen_in(layer: Any) -> List[str]:
    """What is frozen in a layer, or in a network that is a layer; empty if all of it trains."""
    parts = [part for part in getattr(layer, "layers", [layer]) if part.weights]
    frozen = sum(not part.trainable_weights for part in parts)
    if not frozen:
        return []
    if len(parts) == 1:
        return [layer.name]
    number = "all" if frozen == len(parts) else "{} of the".format(frozen)
    return ["{} {} layers with weights of {}".format(number, len(parts), layer.name)]


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


def _resnet(spec: ResnetSpec, image_shape: Tuple[int, ...], last: Any) -> Any:
    layers = tf.keras.layers

    def convolved(x: Any, filters: int, width: int = 3, stride: int = 1) -> Any:
        x = layers.Conv2D(filters, width, stride, "same", use_bias=False, **_kernel(spec))(x)
        return layers.BatchNormalization()(x)

    def active(x: Any) -> Any:
        return layers.Activation(spec.activation)(x)

    inputs = tf.keras.Input(image_shape)
    x = active(convolved(inputs, spec.filters[0]))
    for stage, filters in enumerate(spec.filters):
        for block in range(spec.blocks):
            stride = 2 if stage and not block else 1
            inner = convolved(active(convolved(x, filters, stride=stride)), filters)
            if stride > 1:
                # A strided 1x1 convolution crashes in TensorFlow 2.11 on CPUs (its gradient)
                x = layers.AveragePooling2D(stride, padding="same")(x)
            if int(x.shape[-1]) != filters:
                x = convolved(x, filters, 1)
            x = active(layers.Add()([inner, x]))
    x = layers.GlobalAveragePooling2D()(x)
    for dropout in _dropout(spec.dropout):
        x = dropout(x)
    return tf.keras.Model(inputs, last(x), name=spec.name)


def _on_backbone(spec: BackboneSpec, image_shape: Tuple[int, ...], last: Any) -> Any:
    inputs, x = add_backbone(spec, image_shape)
    for units in spec.dense:
        x = tf.keras.layers.Dense(units, activation=spec.activation, **_kernel(spec))(x)
        for dropout in _dropout(spec.dropout):
            x = dropout(x)
    if not spec.dense:
        for dropout in _dropout(spec.dropout):
            x = dropout(x)
    return tf.keras.Model(inputs, last(x), name=spec.backbone)


def _kernel(spec: Any) -> Dict[str, Any]:
    """How kernels begin, and their penalty. The initializer has the model's seed, as by default."""
    penalty = None
    if spec.l1 or spec.l2:
        penalty = tf.keras.regularizers.L1L2(spec.l1, spec.l2)
    return {"kernel_initializer": spec.initializer, "kernel_regularizer": penalty}


def _activated(layer: Any, sizes: List[int], spec: Any) -> List[Any]:
    if not spec.batch_norm:
        return [layer(*sizes, activation=spec.activation, **_kernel(spec))]
    return [
        layer(*sizes, use_bias=False, **_kernel(spec)),  # the normalisation has one
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
        message = "the model of {} gives {} for one image; expected (1, {}), a value for each class"
        raise UserCodeError(message.format(spec.function, shape or type(output).__name__, classes))
    return model


@contextlib.contextmanager
def blame_user_code(spec: ModelSpec, failed: str) -> Iterator[None]:
    """Turn what goes wrong inside into a `UserCodeError` if the model is the user's own.

    A lack of memory is left as it is, and so is the end of another worker: no code is to blame.
    """
    if not isinstance(spec, FunctionSpec):
        yield
        return
    try:
        yield
    except (TrainingError, SpecError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except (Exception, SystemExit) as error:
        lost = peer_lost(error)
        if lost is not None:
            raise lost from error
        message = "model.function {} {}: {}: {}".format(
            spec.function, failed, type(error).__name__, error
        )
        hint = ""
        if isinstance(error, ImportError):
            hint = "its module must be next to the job file or in the image"
        raise UserCodeError(message, hint) from error
