"""Makes a .tflite file small for a page: weights as whole steps, so few bits that answers stay.

A layer's weights are rounded to steps of a channel's own size. A layer of few weights gets more
bits: all layers have about the same share in the difference of the answers (MobileNetV2 with 9
bits: each moved the logarithm of a probability by 0.02 to 0.1), so bits cost least in small layers.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Dict, List

import numpy as np

from hpcdl.trainer.export.lite_file import LiteFile

_DEPTHWISE = 4  # in BuiltinOperator: its channels are the last axis of the weights
_WITH_WEIGHTS = (3, _DEPTHWISE, 9)  # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED
_FEWEST = 64  # values; smaller tensors stay float32
_BITS = (8, 16)  # fewest and most of a weight


@dataclass
class _Layer:
    """The weights of one operation: start is their place in the file; shape as in the file."""

    start: int
    shape: Any
    by_last_axis: bool

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))


@dataclass
class Rounded:
    """A .tflite file with rounded weights.

    content: the file, with float32 weights as ever.
    stored: the same, to be deflated: the file without these weights; the steps' sizes, float32;
        the upper 8 bits of each weight, a byte each, which deflate well; then the lower bits, in a
        row without gaps, which are noise. A weight is its number of steps plus half the range.
    layers: what the page needs to put the weights back: ``start`` (offset in bytes), ``count``,
        ``bits`` of a weight, ``steps`` (number of step sizes) and ``each`` (weights in a row that
        have one size).
    """

    content: bytes
    stored: bytes
    layers: List[Dict[str, int]]


class Rounding:
    """The weights of a .tflite file, rounded as coarsely as one asks."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._layers = _layers(content)
        self._most = max([layer.count for layer in self._layers] or [1])
        self.weights = sum(layer.count for layer in self._layers)

    def rounded(self, bits: float) -> Rounded:
        """The file with weights of that many bits: the largest layer's; the others have more."""
        content, without = bytearray(self._content), bytearray(self._content)
        sizes: List[bytes] = []
        upper: List[bytes] = []
        lower: List[Any] = []
        layers = []
        for layer in self._layers:
            more = np.log2(self._most / layer.count) / 2
            own_bits = int(np.clip(np.rint(bits + more), *_BITS))
            half = 2 ** (own_bits - 1)
            values = np.frombuffer(self._content, "<f4", layer.count, layer.start)
            values = values.reshape(-1, layer.shape[-1] if layer.by_last_axis else 1)
            if not layer.by_last_axis:
                values = values.reshape(layer.shape[0], -1)
            along = 0 if layer.by_last_axis else 1
            size = (np.abs(values).max(axis=along, keepdims=True) / (half - 1)).astype("<f4")
            size[size == 0] = 1
            steps = np.rint(values / size) + np.float32(0)  # no -0
            end = layer.start + 4 * layer.count
            content[layer.start : end] = (steps.astype("<f4") * size).astype("<f4").tobytes()
            without[layer.start : end] = bytes(4 * layer.count)
            numbers = (steps + half).astype(np.uint16).ravel()
            sizes.append(size.tobytes())
            upper.append((numbers >> (own_bits - 8)).astype(np.uint8).tobytes())
            places = np.arange(own_bits - 9, -1, -1, dtype=np.uint16)
            lower.append(((numbers[:, None] >> places) & 1).astype(np.uint8).ravel())
            each = 1 if layer.by_last_axis else values.shape[1]
            layers.append(
                {
                    "start": layer.start,
                    "count": layer.count,
                    "bits": own_bits,
                    "steps": size.size,
                    "each": each,
                }
            )
        noise = np.packbits(np.concatenate([np.zeros(0, np.uint8), *lower])).tobytes()
        parts = [bytes(without), *sizes, *upper, noise]
        return Rounded(bytes(content), b"".join(parts), layers)


def restored(stored: bytes, file_bytes: int, layers: List[Dict[str, int]]) -> bytes:
    """The file with its rounded weights, from what the page holds; see `Rounded`."""
    content = bytearray(stored[:file_bytes])
    size_count = sum(layer["steps"] for layer in layers)
    sizes = np.frombuffer(stored, "<f4", size_count, file_bytes)
    upper = file_bytes + 4 * size_count
    noise = upper + sum(layer["count"] for layer in layers)
    bits = np.unpackbits(np.frombuffer(stored, np.uint8, offset=noise))
    for layer in layers:
        count, more = layer["count"], layer["bits"] - 8
        numbers = np.frombuffer(stored, np.uint8, count, upper).astype(np.int64)
        for column in bits[: count * more].reshape(count, more).T:
            numbers = 2 * numbers + column
        own_sizes, sizes = sizes[: layer["steps"]], sizes[layer["steps"] :]
        each = own_sizes[np.arange(count) // layer["each"] % layer["steps"]]
        steps = (numbers - 2 ** (layer["bits"] - 1)).astype("<f4")
        content[layer["start"] : layer["start"] + 4 * count] = (steps * each).tobytes()
        upper, bits = upper + count, bits[count * more :]
    return bytes(content)


def deflated(content: bytes) -> bytes:
    """Bytes as zlib stores them, without a search for repeated ones: weights have none."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return packer.compress(content) + packer.flush()


def _layers(content: bytes) -> List[_Layer]:
    """The float32 weights of a file's layers, each once."""
    file = LiteFile(content)
    layers: Dict[int, _Layer] = {}
    for operation in file.operations:
        if operation.code not in _WITH_WEIGHTS:
            continue
        weights = file.weights(operation.inputs[1])
        layer = _Layer(weights.start, weights.shape, operation.code == _DEPTHWISE)
        if weights.start and layer.count >= _FEWEST:
            layers[weights.start] = layer
    return list(layers.values())
