"""TensorFlow Lite (LiteRT): a graph converted to each of its kinds, and run an image at a time."""

from __future__ import annotations

import re
from typing import Any, Iterator, List, Optional

import numpy as np
import tensorflow as tf

from hpcdl.trainer.export.errors import NotExported

GRAPH = "graph"  # a SavedModel
REPRESENTATIVE = "representative.npy"  # uint8 images
SIGNATURE = "serving_default"  # of the graph, and of the files that are made of it
_PIXEL = 1 / 255
_LACKING = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def convert(kind: str, graph: str, representative: Any) -> bytes:
    """The content of a .tflite file, which takes one image at a time.

    The kinds of floats take float32 in [0, 1]. int8 takes the uint8 pixels of an image as they
    are; int16x8 takes int16.

    Args:
        kind: tflite (float32), dynamic (weights of 8 bits), float16 (weights of 16 bits), int8 or
            int16x8 (activations of 16 bits, weights of 8).
        graph: the folder of a SavedModel.
        representative: uint8 images, for int8 and int16x8: the ranges of activations are those
            that they have on these.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(graph, signature_keys=[SIGNATURE])
    if kind != "tflite":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "int16x8"):
        converter.representative_dataset = lambda: _calibration(representative)
    ops = tf.lite.OpsSet
    if kind == "int8":
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.float32
    if kind == "int16x8":
        int16 = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [int16, ops.TFLITE_BUILTINS]
    content: bytes = converter.convert()
    return content


def _calibration(representative: Any) -> Iterator[List[Any]]:
    """Images in [0, 1] by which activations are measured.

    One pixel is black and one is white: then the input's steps are those of uint8 pixels.
    """
    for place, image in enumerate(representative):
        scaled = image[None].astype(np.float32) * np.float32(_PIXEL)
        if place == 0:
            scaled[0, 0, 0, :], scaled[0, -1, -1, :] = 0, 1
        yield [scaled]


def reason(message: str) -> str:
    """Why a graph cannot be converted, from the converter's long message."""
    lacking = sorted(set(_LACKING.findall(message)))
    if lacking:
        return "TensorFlow Lite does not have the operation {}".format(", ".join(lacking))
    lines = [line for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    first_line = "".join((errors or lines)[:1])
    return "TensorFlow Lite cannot convert the model: {}".format(first_line.strip()[:300])


class LiteModel:
    """A .tflite file, run by TensorFlow's own interpreter on one thread.

    Args:
        path: the file; None: see content.
        content: the file's bytes.

    Raises:
        NotExported: the interpreter cannot run it, or it does not take pixels as they are.
    """

    def __init__(self, path: Optional[str], content: Optional[bytes] = None) -> None:
        try:
            self._interpreter = tf.lite.Interpreter(path, content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            message = "TensorFlow Lite cannot run it: {}".format(error)
            raise NotExported(message.partition("\n")[0]) from error
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        if self._input["dtype"] == np.uint8:
            _check_takes_pixels(*self._input["quantization"])

    def __call__(self, image: Any) -> Any:
        """The probabilities, float32 (classes,), of one float32 image in [0, 1]."""
        self._interpreter.set_tensor(self._input["index"], self._quantized(image)[None])
        self._interpreter.invoke()
        values = self._interpreter.get_tensor(self._output["index"])[0]
        if values.dtype == np.float32:
            return values
        scale, zero = self._output["quantization"]
        return (values.astype(np.float32) - zero) * scale

    def _quantized(self, image: Any) -> Any:
        kind = self._input["dtype"]
        if kind == np.float32:
            return image
        scale, zero = self._input["quantization"]
        limits = np.iinfo(kind)
        steps = np.rint(image / scale + zero)
        return np.clip(steps, limits.min, limits.max).astype(kind)


def _check_takes_pixels(scale: float, zero: int) -> None:
    """Raise `NotExported` unless a step of the input is a grey level, and 0 is black."""
    if zero != 0 or abs(scale - _PIXEL) > 1e-6:
        message = "its input has steps of {:g} from {}; expected 1/255 from 0"
        raise NotExported(message.format(scale, zero))
