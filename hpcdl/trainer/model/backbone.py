"""Networks of keras.applications as backbones: found by name, with their preprocessing, frozen."""

from __future__ import annotations

import difflib
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract.spec import BackboneSpec, SpecError
from hpcdl.trainer import compat
from hpcdl.trainer.model.backbone_weights import network_with_weights

FEATURES = "features"  # the layer whose output the frozen part ends with
_POOLING = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D", "flatten": "Flatten"}


def add_backbone(spec: BackboneSpec, image_shape: Tuple[int, ...]) -> Tuple[Any, Any]:
    """Begin a model: an input of images in [0, 1], grey to RGB, preprocessing, network, pooling.

    The network is always in inference mode: batch normalisation keeps its averages, also between
    layers that train. Source: https://www.tensorflow.org/guide/keras/transfer_learning.

    Args:
        spec: the model's section of the run.
        image_shape: (height, width, channels); 1 channel or 3.

    Returns:
        the input, and the features: (rows, channels), or all values of the last feature maps for
        flatten.

    Raises:
        SpecError: this Keras does not have the network, or it cannot take images of this shape.
        DataError: its weights are not staged, cannot be read, or belong to another network.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        message = (
            "model.backbone {} takes grey or RGB images; these have {} channels: set data.color"
        )
        raise SpecError(message.format(spec.backbone, channels))
    builder = _builder(spec.backbone)
    network = network_with_weights(spec, builder, (height, width, 3))
    freeze(network, spec.unfreeze)
    inputs = x = tf.keras.Input(image_shape)
    if channels == 1:
        x = tf.keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = preprocessed(x, preprocessing(builder))
    x = network(x, training=False)
    pooling = getattr(tf.keras.layers, _POOLING[spec.pooling])
    return inputs, pooling(name=FEATURES)(x)


def freeze(network: Any, unfreeze: int) -> None:
    """Let the last `unfreeze` layers of a network train, and no others; none drops anything.

    Batch normalisation never trains: that alone keeps it in inference mode in both Kerases.
    """
    compat.never_drop(network)
    network.trainable = unfreeze > 0
    first_trainable = len(network.layers) - unfreeze
    for place, layer in enumerate(network.layers):
        normalises = isinstance(layer, tf.keras.layers.BatchNormalization)
        layer.trainable = place >= first_trainable and not normalises


def network_of(model: Any) -> Any:
    """The network in a model that began with `add_backbone`."""
    return next(layer for layer in model.layers if hasattr(layer, "layers"))


def split(model: Any) -> Optional[Tuple[Any, Any]]:
    """Split a model that began with `add_backbone`: images to features, and features to classes.

    Returns:
        both models, which share their layers with the whole one; None if weights of the first one
        train.
    """
    names = [layer.name for layer in model.layers]
    first_of_head = names.index(FEATURES) + 1
    if any(layer.trainable_weights for layer in model.layers[:first_of_head]):
        return None
    features = model.layers[first_of_head - 1].output
    inputs = x = tf.keras.Input(tuple(features.shape[1:]))
    for layer in model.layers[first_of_head:]:
        x = layer(x)
    frozen = tf.keras.Model(model.input, features)
    return frozen, tf.keras.Model(inputs, x, name=model.name)


def _builder(name: str) -> Any:
    """The function that builds a network.

    Raises:
        SpecError: this Keras does not have it.
    """
    builders = architectures()
    if name in builders:
        return builders[name]
    by_lower_case = {architecture.lower(): architecture for architecture in builders}
    close = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1)
    guess = "did you mean {}? ".format(by_lower_case[close[0]]) if close else ""
    raise SpecError(
        "model.backbone is {!r}; {}Keras {} has {}".format(
            name, guess, compat.keras_version(), ", ".join(sorted(builders))
        )
    )


def architectures() -> Dict[str, Any]:
    """The function that builds each network of this Keras, by the network's name."""
    names = [name for name in dir(tf.keras.applications) if name[0].isupper()]
    return {name: getattr(tf.keras.applications, name) for name in names}


class Preprocessing(NamedTuple):
    """How a network takes RGB in [0, 1]: reversed to BGR or not, times scale, plus offset.

    Scale and offset have one number for each channel.
    """

    reverse: bool
    scale: List[float]
    offset: List[float]


def preprocessing(builder: Any) -> Preprocessing:
    """What the ``preprocess_input`` of a network's module does.

    It is given a black pixel, and one each of pure red, green and blue.
    """
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])[None, None]
    black, *pure = sys.modules[builder.__module__].preprocess_input(pixels)[0, 0]
    matrix = np.array(pure) - black
    reverse = not matrix[0, 0]
    if reverse:
        matrix = matrix[::-1]
    return Preprocessing(reverse, _rounded(matrix.diagonal()), _rounded(black))


def _rounded(values: Any) -> List[float]:
    return [round(float(value), 9) for value in values]


def preprocessed(x: Any, steps: Preprocessing) -> Any:
    """Images in [0, 1] as the network takes them, by layers that can be saved."""
    if steps.reverse:
        x = compat.reverse_channels(x)
    layer = tf.keras.layers.Rescaling(
        _one_if_equal(steps.scale),
        _one_if_equal(steps.offset),
        name="preprocessing",
        dtype="float32",
    )
    return layer(x)


def _one_if_equal(values: List[float]) -> Any:
    """One number for all channels, if all have the same."""
    return values[0] if len(set(values)) == 1 else values
