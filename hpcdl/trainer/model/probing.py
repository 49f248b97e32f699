"""Tests a user's model: whether it gives probabilities, and whether it scales images twice."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import UserCodeError
from hpcdl.contract.spec import FunctionSpec
from hpcdl.trainer import compat
from hpcdl.trainer.model import compiling

# Half floats round each of 1,000 probabilities by up to a thousandth of itself
_SUM_TOLERANCE = 0.02
# What is left of the range 0 to 1 in the first layer with weights. Below it, the model was made for
# 0 to 255: ImageNet's normalisation leaves 0.017 of it, a division by 127.5 leaves 0.008.
_SMALLEST_RANGE = 0.03
_LAYERS_THAT_SCALE = ("Rescaling", "Normalization", "Lambda", "TFOpLambda")


class LayerInput(NamedTuple):
    """The input of a layer: its name, how much two images differ there, and the largest value."""

    layer: str
    difference: float
    largest: float


def check_function_model(
    model: Any, spec: FunctionSpec, image_shape: Tuple[int, ...], classes: int
) -> List[str]:
    """Run a model once on a black, a white and two random images, and judge what comes out.

    Args:
        model: built; compiled only where the user's function compiled it.
        image_shape: (height, width, channels).

    Returns:
        warnings, each a sentence with its remedy.

    Raises:
        UserCodeError: the loss would take outputs for probabilities that are not probabilities.
    """
    black_and_white = np.stack([np.zeros(image_shape), np.ones(image_shape)]).astype(np.float32)
    noise = np.random.default_rng(0).random((2, *image_shape), dtype=np.float32)
    outputs = []
    watches = []
    for images in (black_and_white, noise):
        watch = _Watch()
        with compat.watched_calls(model, watch.note):
            outputs.append(model(tf.constant(images), training=False))
        watches.append(watch)
    warnings = [*_whole_numbers(spec.function, model), *_scaled_twice(spec.function, watches)]
    values = _values(outputs, classes)
    if values is None:
        return warnings
    if compat.is_compiled(model):
        return [*warnings, *_compiled_output(model, spec, values)]
    return [*warnings, *_output(spec, values)]


class _Watch:
    """What the layers of a model are given while it runs on two images.

    inputs: of each layer with a kernel, in the order of the calls.
    scaling: the names of the scaling layers before the first one with a kernel.
    """

    def __init__(self) -> None:
        self.inputs: List[LayerInput] = []
        self.scaling: List[str] = []

    def note(self, layer: Any, inputs: Any, _outputs: Any) -> None:
        """Note the input of a layer."""
        name = layer.name
        scales = type(layer).__name__ in _LAYERS_THAT_SCALE
        if scales and not self.inputs and name not in self.scaling:
            self.scaling.append(name)
        if not compat.has_kernel(layer) or not hasattr(inputs, "shape") or inputs.shape[0] != 2:
            return
        first, second = np.asarray(tf.cast(inputs, tf.float32))
        difference = float(np.abs(second - first).max(initial=0.0))
        largest = float(max(np.abs(first).max(initial=0.0), np.abs(second).max(initial=0.0)))
        if difference > 0:  # a layer of positions gets the same for all images
            self.inputs.append(LayerInput(name, difference, largest))


def _whole_numbers(function: str, model: Any) -> List[str]:
    """The warning that Keras makes whole numbers of the images: of [0, 1] only 0 and 1 are left."""
    for tensor in getattr(model, "inputs", None) or []:
        dtype = tf.as_dtype(tensor.dtype)
        if dtype.is_integer:
            message = (
                "{} takes whole numbers ({}), and is given images in [0, 1]: nearly all of their "
                "values become 0. Leave dtype out of its tf.keras.Input"
            )
            return [message.format(function, dtype.name)]
    return []


def _scaled_twice(function: str, watches: List[_Watch]) -> List[str]:
    """The warning that neither black and white nor noise differ in the first layer with weights.

    Two kinds of images: an average makes noise alike, a layer that normalises each image makes
    plain ones alike, and neither is a fault.
    """
    first_inputs = [watch.inputs[0] for watch in watches if watch.inputs]
    if len(first_inputs) < len(watches):
        return []
    difference = max(layer_input.difference for layer_input in first_inputs)
    largest = max(layer_input.largest for layer_input in first_inputs)
    if difference >= _SMALLEST_RANGE * max(1.0, largest):
        return []
    names = [name for watch in watches for name in watch.scaling]
    scaling = dict.fromkeys(names)  # each once
    by_layers = " by its {}".format(", ".join(scaling)) if scaling else ""
    message = (
        "the images are scaled twice: {} is given images in [0, 1] and scales them again{}, so "
        "that its {} sees differences of {:.2g} at most, around values of {:.2g}. Take that "
        "scaling out of the model, or let the model begin with tf.keras.layers.Rescaling(255.0)"
    )
    return [message.format(function, by_layers, first_inputs[0].layer, difference, largest)]


def _values(outputs: List[Any], classes: int) -> Optional[Any]:
    """The outputs as one array (rows, classes); None if they are something else, or not finite."""
    rows = []
    for output in outputs:
        if not tf.is_tensor(output) or output.shape.rank != 2 or output.shape[1] != classes:
            return None
        rows.append(np.asarray(tf.cast(output, tf.float32)))
    values = np.concatenate(rows)
    return values if np.isfinite(values).all() else None


def _are_probabilities(values: Any) -> bool:
    sums = values.sum(axis=1)
    return _are_in_range(values) and bool((np.abs(sums - 1) < _SUM_TOLERANCE).all())


def _are_in_range(values: Any) -> bool:
    """Whether all values are between 0 and 1, but for rounding."""
    return bool(values.min() >= -_SUM_TOLERANCE and values.max() <= 1 + _SUM_TOLERANCE)


def _described(values: Any) -> str:
    sums = values.sum(axis=1)
    message = (
        "for four test images they go from {:.3g} to {:.3g}, "
        "and add up to between {:.3g} and {:.3g}"
    )
    return message.format(values.min(), values.max(), sums.min(), sums.max())


def _output(spec: FunctionSpec, values: Any) -> List[str]:
    """Compare the outputs with model.output, by which hpcdl chooses the loss."""
    if _are_probabilities(values):
        if spec.output == "softmax":
            return []
        message = (
            "model.output is logits, but the outputs of {} are probabilities already: {}. The loss "
            "takes a softmax of them again, and training is slow and worse. Leave model.output "
            "out, or leave the softmax out of the model"
        )
        return [message.format(spec.function, _described(values))]
    if spec.output == "logits":
        return []
    message = (
        "the outputs of {} are not probabilities: {}; "
        "expected 0 to 1 and a sum of 1, as model.output is softmax"
    )
    message = message.format(spec.function, _described(values))
    remedy = "set model.output: logits, or let the model end with a softmax"
    if not _are_in_range(values):
        raise UserCodeError(message, remedy)
    return ["{}. For their loss they are brought to a sum of 1; {}".format(message, remedy)]


def _compiled_output(model: Any, spec: FunctionSpec, values: Any) -> List[str]:
    """Compare the outputs with the loss that the model came with, and with model.output."""
    probabilities = _are_probabilities(values)
    from_logits = compiling.takes_logits(model.loss)
    if from_logits is False and not _are_in_range(values):
        message = (
            "the model of {} came compiled with a loss for probabilities, "
            "and its outputs are not probabilities: {}"
        )
        raise UserCodeError(
            message.format(spec.function, _described(values)),
            "compile it with from_logits=True and set model.output: logits, "
            "or let it end with a softmax",
        )
    message = ""
    if from_logits and probabilities:
        message = (
            "the model of {} came compiled with a loss for logits (from_logits=True), and its "
            "outputs are probabilities already: {}. Compile it without from_logits, or leave its "
            "softmax out"
        )
    elif probabilities and spec.output == "logits":
        message = (
            "model.output is logits, but the outputs of {} are probabilities already, and "
            "predictions.npz takes a softmax of them again: leave model.output out"
        )
    elif not probabilities and spec.output == "softmax":
        message = (
            "the outputs of {} are not probabilities: {}. There will be no predictions.npz, and no "
            "scores in the report; set model.output: logits if they are logits"
        )
    return [message.format(spec.function, _described(values))] if message else []
