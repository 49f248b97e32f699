"""Runs a .tflite file as TensorFlow's own operations, so that its answers have gradients.

Numbers of operations and of their options: see `lite_file`. The commonest operations are here; for
others a caller gets `NoGradientError`, and does without gradients.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import tensorflow as tf

from hpcdl.trainer.export.lite_file import LiteFile, Operation
from hpcdl.trainer.export.lite_names import name_of_operation

CONV, DEPTHWISE, DENSE = 3, 4, 9
_SOFTMAX = 25
_PADDINGS = {0: "SAME", 1: "VALID"}
_ACTIVATIONS: Dict[int, Callable[[Any], Any]] = {
    0: tf.identity,
    1: tf.nn.relu,
    3: tf.nn.relu6,
    4: tf.tanh,
}
_EACH: Dict[int, Callable[[Any], Any]] = {
    14: tf.sigmoid,
    19: tf.nn.relu,
    21: tf.nn.relu6,
    28: tf.tanh,
}
_PAIRS: Dict[int, Callable[[Any, Any], Any]] = {0: tf.add, 18: tf.multiply, 41: tf.subtract}


class NoGradientError(Exception):
    """The file has an operation that is not here: the message is its name."""


class Layer:
    """One operation with weights, as it ran.

    operation: which.
    patches: what each weight was multiplied with, (images, places, columns); for a convolution of
        each channel (images, places, columns, channels).
    sums: the results before the activation, (images, places, rows).
    """

    def __init__(self, operation: Operation, patches: Any, sums: Any) -> None:
        self.operation, self.patches, self.sums = operation, patches, sums


class LiteGraph:
    """A .tflite file, as a function of images."""

    def __init__(self, content: bytes) -> None:
        self._file = LiteFile(content)

    def __call__(self, images: Any, layers: List[Layer]) -> Any:
        """The answers before the last softmax, (images, classes).

        Args:
            images: float32 (images, height, width, channels) in [0, 1].
            layers: gets the layers, in their order.

        Raises:
            NoGradientError: an operation is not known here.
        """
        file = self._file
        values = {file.inputs[0]: images}
        for operation in file.operations:
            inputs = [values.get(tensor, file.constant(tensor)) for tensor in operation.inputs]
            output = operation.outputs[0]
            if operation.code == _SOFTMAX and output in file.outputs:
                return inputs[0]
            values[output] = self._result(operation, inputs, layers)
        return values[file.outputs[0]]

    def _result(self, operation: Operation, inputs: List[Any], layers: List[Layer]) -> Any:
        code, file = operation.code, self._file
        if code in _PAIRS:
            return self._active(operation, 0, _PAIRS[code](inputs[0], inputs[1]))
        if code in _EACH:
            return _EACH[code](inputs[0])
        if code in (CONV, DEPTHWISE):
            return self._convolved(operation, inputs, layers)
        if code == DENSE:
            return self._dense(operation, inputs, layers)
        if code in (1, 17):  # AVERAGE_POOL_2D, MAX_POOL_2D
            strides = [file.option(operation, 2, "i", 1), file.option(operation, 1, "i", 1)]
            sizes = [file.option(operation, 4, "i", 1), file.option(operation, 3, "i", 1)]
            pool = tf.nn.avg_pool2d if code == 1 else tf.nn.max_pool2d
            pooled = pool(inputs[0], sizes, strides, self._padding(operation))
            return self._active(operation, 5, pooled)
        if code == 22:  # RESHAPE
            return tf.reshape(inputs[0], [-1, *file.shape(operation.outputs[0])[1:]])
        if code == 34:  # PAD
            return tf.pad(inputs[0], inputs[1])
        if code == 40:  # MEAN
            return tf.reduce_mean(inputs[0], inputs[1], bool(file.option(operation, 0, "b")))
        raise NoGradientError(name_of_operation(code))

    def _convolved(self, operation: Operation, inputs: List[Any], layers: List[Layer]) -> Any:
        image, kernel, bias = inputs
        places = (2, 1, 3, 5, 4) if operation.code == CONV else (2, 1, 4, 6, 5)
        down, right = (self._file.option(operation, field, "i", 1) for field in places[:2])
        rates = [self._file.option(operation, field, "i", 1) for field in places[3:]]
        _, high, wide, depth = kernel.shape
        if operation.code == CONV and depth != image.shape[3]:
            raise NoGradientError("CONV_2D in groups")
        if operation.code == DEPTHWISE and depth != image.shape[3]:
            raise NoGradientError("DEPTHWISE_CONV_2D of several outputs a channel")
        patches = image[:, ::down, ::right]
        if (high, wide) != (1, 1):
            args = ([1, high, wide, 1], [1, down, right, 1], [1, *rates, 1])
            patches = tf.image.extract_patches(image, *args, self._padding(operation))
        form = (patches.shape[1], patches.shape[2])
        patches = tf.reshape(patches, [-1, form[0] * form[1], high * wide * image.shape[3]])
        if operation.code == CONV:
            sums = tf.matmul(patches, kernel.reshape(len(kernel), -1), transpose_b=True)
        else:
            patches = tf.reshape(patches, [-1, form[0] * form[1], high * wide, depth])
            sums = tf.reduce_sum(patches * kernel.reshape(1, 1, high * wide, depth), 2)
        sums += bias
        layers.append(Layer(operation, patches, sums))
        result = tf.reshape(sums, [-1, *form, sums.shape[-1]])
        return self._active(operation, places[2], result)

    def _dense(self, operation: Operation, inputs: List[Any], layers: List[Layer]) -> Any:
        values, kernel = inputs[:2]
        patches = tf.reshape(values, [-1, 1, kernel.shape[1]])
        sums = tf.matmul(patches, kernel, transpose_b=True)
        if len(inputs) > 2 and inputs[2] is not None:
            sums += inputs[2]
        layers.append(Layer(operation, patches, sums))
        return self._active(operation, 0, sums[:, 0])

    def _padding(self, operation: Operation) -> str:
        return _PADDINGS[self._file.option(operation, 0, "b")]

    def _active(self, operation: Operation, field: int, value: Any) -> Any:
        code = self._file.option(operation, field, "b")
        if code not in _ACTIVATIONS:
            raise NoGradientError("number {} of ActivationFunctionType".format(code))
        return _ACTIVATIONS[code](value)


def gradients(graph: LiteGraph, images: Any, signs: Any) -> Tuple[List[Layer], List[Any]]:
    """The layers of some images, and the gradient of each layer's sums.

    Args:
        signs: (images, classes); the answers are weighted with them and added. None: the layers
            alone are asked for, and each gradient is None.

    Raises:
        NoGradientError: see `LiteGraph`.
    """
    layers: List[Layer] = []
    if signs is None:
        graph(images, layers)
        return layers, [None] * len(layers)
    with tf.GradientTape() as tape:
        watched = tf.constant(images)
        tape.watch(watched)
        answers = graph(watched, layers)
        total = tf.reduce_sum(answers * signs)
    slopes = tape.gradient(total, [layer.sums for layer in layers])
    for layer, slope in zip(layers, slopes):
        if slope is None:
            name = name_of_operation(layer.operation.code)
            raise NoGradientError("{} that no answer depends on".format(name))
    return layers, slopes
