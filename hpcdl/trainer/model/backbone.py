"""Networks of keras.applications as backbones: found by name, with their own preprocessing and weights, frozen."""

from __future__ import annotations

import difflib
import os
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import BackboneSpec, SpecError
from hpcdl.contract.staged_names import MODELS, WEIGHTS, on_the_internet, stage_command
from hpcdl.trainer import compat

FEATURES = "features"  # the layer whose output the frozen part ends with
_POOLING = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D", "flatten": "Flatten"}


def add_backbone(spec: BackboneSpec, image_shape: Tuple[int, ...]) -> Tuple[Any, Any]:
    """Begin a model: an input of images in [0, 1], grey to RGB, the network's preprocessing, the network, pooling.

    The network is always in inference mode: batch normalisation keeps its averages, also between layers that
    train. Source: https://www.tensorflow.org/guide/keras/transfer_learning.

    Args:
        image_shape: (height, width, channels); 1 channel or 3.

    Returns:
        the input, and the features: (rows, channels), or all values of the last feature maps for flatten.

    Raises:
        SpecError: there is no such network in this Keras, or it cannot take images of this shape.
        DataError: its weights are not staged, not to be read, or another network's.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise SpecError(
            "model.backbone {} takes grey or RGB images; these have {} channels: set data.color".format(
                spec.backbone, channels
            )
        )
    builder = _builder(spec.backbone)
    network = _network(spec, builder, (height, width, 3))
    freeze(network, spec.unfreeze)
    inputs = x = tf.keras.Input(image_shape)
    if channels == 1:
        x = tf.keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = network(_preprocessed(x, preprocessing(builder)), training=False)
    return inputs, getattr(tf.keras.layers, _POOLING[spec.pooling])(name=FEATURES)(x)


def freeze(network: Any, unfreeze: int) -> None:
    """Let the last `unfreeze` layers of a network train, and no others; none of them ever drops anything.

    Batch normalisation never trains: that alone keeps it in inference mode in both Kerases.
    """
    compat.never_drop(network)
    network.trainable = unfreeze > 0
    for place, layer in enumerate(network.layers):
        normalises = isinstance(layer, tf.keras.layers.BatchNormalization)
        layer.trainable = place >= len(network.layers) - unfreeze and not normalises


def network_of(model: Any) -> Any:
    """The network in a model that began with `add_backbone`."""
    return next(layer for layer in model.layers if hasattr(layer, "layers"))


def split(model: Any) -> Optional[Tuple[Any, Any]]:
    """A model that began with `add_backbone` as two, which share its layers: images to features, these to classes.

    Returns:
        both models; None where some of the first one's weights train.
    """
    place = [layer.name for layer in model.layers].index(FEATURES)
    if any(layer.trainable_weights for layer in model.layers[: place + 1]):
        return None
    features = model.layers[place].output
    inputs = x = tf.keras.Input(tuple(features.shape[1:]))
    for layer in model.layers[place + 1 :]:
        x = layer(x)
    return tf.keras.Model(model.input, features), tf.keras.Model(inputs, x, name=model.name)


def _builder(name: str) -> Any:
    known = _architectures()
    if name in known:
        return known[name]
    lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1)
    raise SpecError(
        "model.backbone is {!r}; {}Keras {} has {}".format(
            name,
            "did you mean {}? ".format(lower[close[0]]) if close else "",
            compat.keras_version(),
            ", ".join(sorted(known)),
        )
    )


def _architectures() -> Dict[str, Any]:
    """What builds each network that this Keras has, by name."""
    names = [name for name in dir(tf.keras.applications) if name[0].isupper()]
    return {name: getattr(tf.keras.applications, name) for name in names}


class Preprocessing(NamedTuple):
    """What a network's images are: RGB in [0, 1], reversed to BGR or not, times scale, plus offset by channel."""

    reverse: bool
    scale: List[float]
    offset: List[float]


def preprocessing(builder: Any) -> Preprocessing:
    """What the ``preprocess_input`` of a network's module does, found by giving it a black and three pure pixels."""
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])[None, None]
    black, *pure = sys.modules[builder.__module__].preprocess_input(pixels)[0, 0]
    matrix = np.array(pure) - black
    reverse = not matrix[0, 0]
    scale = (matrix[::-1] if reverse else matrix).diagonal()
    return Preprocessing(
        reverse, [round(float(x), 9) for x in scale], [round(float(x), 9) for x in black]
    )


def _preprocessed(x: Any, how: Preprocessing) -> Any:
    if how.reverse:
        x = compat.reverse_channels(x)
    scale, offset = (
        values[0] if len(set(values)) == 1 else values for values in (how.scale, how.offset)
    )
    return tf.keras.layers.Rescaling(scale, offset, name="preprocessing", dtype="float32")(x)


def _network(spec: BackboneSpec, builder: Any, shape: Tuple[int, ...]) -> Any:
    asked: List[str] = []

    def find(file: str) -> str:
        asked.append(_staged(spec.backbone, file))
        return asked[0]

    weights = "imagenet" if spec.weights == "imagenet" else None
    try:
        with compat.weights_from(builder, find):
            network = builder(include_top=False, weights=weights, input_shape=shape)
    except (ValueError, OSError, KeyError) as error:
        if asked:
            raise _unfit(asked[0], spec.backbone, error) from error
        raise SpecError(
            "model.backbone {} cannot take images of {}x{}: {}; see data.image_size".format(
                spec.backbone, shape[0], shape[1], _first_line(error)
            )
        ) from error
    if spec.weights not in ("imagenet", "none"):
        _load(network, spec.backbone, spec.weights)
    if not all(np.isfinite(array).all() for array in network.get_weights()):
        raise DataError(
            "{}: holds weights that are NaN or infinite; the file is damaged".format(spec.weights)
        )
    return network


def _staged(name: str, file: str) -> str:
    """The file of weights that Keras asks for: staged below data_root, or in Keras's own folder."""
    root = os.environ.get("HPCDL_DATA_ROOT")
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    paths = [os.path.join(folder, MODELS, file) for folder in (root, home) if folder]
    for path in paths:
        if os.path.exists(path):
            return path
    raise DataError(
        "the ImageNet weights of {} are not staged: there is no {}".format(name, paths[0]),
        on_the_internet(stage_command(WEIGHTS + file, root or "DIR")),
    )


def _load(network: Any, name: str, path: str) -> None:
    """Load weights from an HDF5 file, after comparing what it holds with what the network has."""
    if not os.path.exists(path):
        raise DataError(
            "model.weights: there is no {}".format(path),
            "a container sees only data_root and bound folders",
        )
    try:
        found = compat.weights_in(path)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            "{}: cannot be read as HDF5 ({}; {:,} bytes); expected weights as Keras's save_weights writes them".format(
                path, _first_line(error), os.path.getsize(path)
            ),
            "it may be cut short or be another kind of file: copy it again",
        ) from error
    wanted = [tuple(weight.shape) for weight in network.weights]
    more, fewer = (
        _difference([shape for _, shape in found], wanted),
        _difference(wanted, [s for _, s in found]),
    )
    if more or fewer:
        count, expected = (
            sum(int(np.prod(shape)) for shape in shapes)
            for shapes in ([s for _, s in found], wanted)
        )
        top = (
            "; it has the classes as well: save it with include_top=False"
            if more and not fewer
            else ""
        )
        raise DataError(
            "{}: holds {:,} parameters in {} arrays; {} without its classes has {:,} in {}{}{}".format(
                path, count, len(found), name, expected, len(wanted), _example(found, more), top
            ),
            "expected the weights of {} with include_top=False".format(name),
        )
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise _unfit(path, name, error) from error


def _difference(
    shapes: List[Tuple[int, ...]], others: List[Tuple[int, ...]]
) -> List[Tuple[int, ...]]:
    """The shapes that are not among the others, each as often as it is too many."""
    left = list(others)
    more = []
    for shape in shapes:
        if shape in left:
            left.remove(shape)
        else:
            more.append(shape)
    return more


def _example(found: List[Tuple[str, Tuple[int, ...]]], more: List[Tuple[int, ...]]) -> str:
    """The last array that the network does not have: a top comes last."""
    names = ["{} {}".format(name, shape) for name, shape in found if shape in more]
    return ", such as {}".format(names[-1]) if names else ""


def _unfit(path: str, name: str, error: Exception) -> DataError:
    return DataError(
        "{}: is not a file of {}'s weights without its classes: {}".format(
            path, name, _first_line(error)
        ),
        "it may be damaged or another network's: stage or copy it again",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
