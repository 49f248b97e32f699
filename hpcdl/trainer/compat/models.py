"""Models: their layers, how they are shown, and how they are saved and loaded."""

from __future__ import annotations

import contextlib
import gc
import inspect
from typing import Any, Callable, Dict, Iterable, Iterator, List

import numpy as np
import tensorflow as tf

from hpcdl.trainer.compat.versions import is_keras_3


def forget_models() -> None:
    """Let go of all models: the names of layers start again, as in a new process."""
    tf.keras.backend.clear_session()
    gc.collect()


def is_compiled(model: Any) -> bool:
    """Whether a model came with its own optimizer and loss."""
    return bool(model.compiled if is_keras_3() else model._is_compiled)


def forget_compilation(model: Any) -> None:
    """Let a model be saved without its loss and optimizer: as a part of another one it needs none.

    From Keras 2.13 on, they would be in the file, and loading it would need the user's code.
    """
    for name in ("compiled", "_is_compiled"):
        if name in vars(model):
            setattr(model, name, False)


def print_summary(model: Any) -> None:
    """Print the model's layers, shapes and parameters.

    80 columns wide: Keras 3 cuts off more if stdout is not a terminal.
    """
    model.summary(line_length=80, print_fn=lambda text, **_: print(text, flush=True))


def parameters(weights: Iterable[Any]) -> int:
    """How many numbers these weights are."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def depth(model: Any) -> int:
    """How many layers have a kernel: 16 in VGG16."""
    return sum(has_kernel(layer) for layer in innermost_layers(model))


def has_kernel(layer: Any) -> bool:
    """Whether a layer has a weight of two or more dimensions; batch normalisation does not."""
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def innermost_layers(model: Any) -> List[Any]:
    """All layers of a model that are not made of others, those of nested models too."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if len(list(layer._flatten_layers())) == 1]


@contextlib.contextmanager
def watched_calls(model: Any, note: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    """While a model is run eagerly: ``note(layer, inputs, outputs)`` after each innermost layer."""

    def watched(layer: Any, call: Any) -> Any:
        def noting(*arguments: Any, **named: Any) -> Any:
            outputs = call(*arguments, **named)
            # In a user's tf.function there are no values to look at.
            if arguments and tf.executing_eagerly():
                note(layer, arguments[0], outputs)
            return outputs

        return noting

    layers = [layer for layer in innermost_layers(model) if "call" not in vars(layer)]
    for layer in layers:  # past Keras's own __setattr__, which would track it
        object.__setattr__(layer, "call", watched(layer, layer.call))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def never_drop(network: Any) -> None:
    """Switch off dropout and stochastic depth inside a network for good.

    ``network(x, training=False)`` is enough in Keras 2. In Keras 3, a model around the network
    tells it whether it trains, in spite of that argument.
    """
    if not is_keras_3():
        return
    for layer in network._flatten_layers(include_self=False):
        for name in ("rate", "drop_path_rate"):
            if isinstance(getattr(layer, name, None), float):
                setattr(layer, name, 0.0)


def reverse_channels(images: Any) -> Any:
    """RGB becomes BGR, as a layer that every Keras can save and load.

    In Keras 3.0 a slice with a step is not a layer.
    """
    return tf.keras.ops.flip(images, axis=-1) if is_keras_3() else tf.reverse(images, [-1])


def model_file() -> str:
    """The file name of a saved model. TensorFlow 2.11 writes HDF5 for every name."""
    major, minor = tf.__version__.split(".")[:2]
    return "model.keras" if (int(major), int(minor)) >= (2, 12) else "model.h5"


def load_model(path: str, own_objects: Dict[str, Any], trusted: bool) -> Any:
    """Load a saved model, uncompiled.

    Args:
        own_objects: the user's own classes and functions, by name.
        trusted: whether the Python code of Lambda layers in the file may run.
    """
    load = tf.keras.models.load_model
    options = {}
    if trusted and "safe_mode" in inspect.signature(load).parameters:  # from Keras 2.13 on
        options["safe_mode"] = False
    return load(path, custom_objects=own_objects, compile=False, **options)
