"""Makes a .tflite file small for a page: weights as whole steps, so few bits that answers stay.

A weight's step is a power of two that its row and its column give together. Steps are the larger,
the less an error there changes the answers: then each bit that is spent changes them equally
(`page_errors`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from hpcdl.trainer.export.lite_file import LiteFile
from hpcdl.trainer.export.page_errors import Errors
from hpcdl.trainer.export.page_rounding import Feedback, feedback, whole_steps

_DEPTHWISE = 4  # in BuiltinOperator: its channels are the last axis of the weights
_WITH_WEIGHTS = (3, _DEPTHWISE, 9)  # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED
_FEWEST = 64  # values; smaller tensors stay float32
_MOST_BITS = 24  # of a weight: a float32 has no more


@dataclass
class _Layer:
    """The weights of one operation: start is their place in the file; shape as in the file.

    tensor: their number.
    """

    tensor: int
    start: int
    shape: Any
    by_last_axis: bool

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))

    @property
    def rows(self) -> int:
        return int(self.shape[-1 if self.by_last_axis else 0])

    @property
    def columns(self) -> int:
        """The columns that have steps of their own."""
        return 1 if self.by_last_axis else self.count // self.rows

    def matrix(self, values: Any) -> Any:
        """The weights of a sum in each row."""
        if self.by_last_axis:
            return values.reshape(-1, self.rows).T
        return values.reshape(self.rows, -1)

    def flat(self, matrix: Any) -> Any:
        """The opposite of `matrix`."""
        return (matrix.T if self.by_last_axis else matrix).ravel()


@dataclass
class Rounded:
    """A .tflite file with rounded weights.

    content: the file, with float32 weights as ever.
    stored: the same, deflated: the file without these weights; then for all layers a byte
        for each row, the number of its lower bits; a byte for each row and then for each column,
        the power of two of its step (the two are added, and 128 is 0); the upper 8 bits of each
        weight, a byte each, which deflate well; then the lower bits, in a row without gaps, which
        are noise. A weight is its number of steps plus half of its row's range.
    """

    content: bytes
    stored: bytes


class Rounding:
    """The weights of a .tflite file, rounded as coarsely as one asks.

    Args:
        errors: by tensor; see `page_errors`. None, or a layer that is not there: an error counts in
            proportion to the row's largest weight, and less in a larger layer.

    Attributes:
        places: what the page needs to put the weights back, for each layer: ``start`` (offset in
            bytes), ``count``, ``rows``, ``columns`` and ``each`` (weights in a row of the file that
            are in one row).
    """

    def __init__(self, content: bytes, errors: Optional[Dict[int, Errors]]) -> None:
        self._content = content
        self._layers = _layers(content)
        self.weights = sum(layer.count for layer in self._layers)
        self.places = [_place(layer) for layer in self._layers]
        self._prepared: List[Tuple[Any, Feedback]] = []
        for layer in self._layers:
            values = np.frombuffer(content, "<f4", layer.count, layer.start)
            matrix = layer.matrix(values).astype(float)
            of_layer = (errors or {}).get(layer.tensor) or _guessed(matrix, self.weights)
            self._prepared.append((matrix, feedback(of_layer, matrix.shape[1])))

    def rounded(self, size: float) -> Rounded:
        """The file with steps of a size: the logarithm (base 2) of the error that each may make."""
        content, without = bytearray(self._content), bytearray(self._content)
        shifts: List[Any] = []
        powers: List[Any] = []
        upper: List[Any] = []
        lower: List[Any] = []
        for layer, (matrix, of_layer) in zip(self._layers, self._prepared):
            end = layer.start + 4 * layer.count
            rows, columns, steps = whole_steps(matrix, of_layer, size, _MOST_BITS)
            restored_values = np.ldexp(steps.astype("<f4"), rows[:, None] + columns)
            content[layer.start : end] = layer.flat(restored_values).astype("<f4").tobytes()
            without[layer.start : end] = bytes(4 * layer.count)
            shift = _lower_bits(steps)
            shifts.append(shift)
            powers += [rows + 128, columns[: layer.columns] + 128]
            numbers = layer.flat(steps + (128 << shift)[:, None])
            counts = layer.flat(np.broadcast_to(shift[:, None], steps.shape))
            upper.append(numbers >> counts)
            lower.append(_bits(numbers, counts))
        numbers_of_bytes = np.concatenate([[], *shifts, *powers, *upper]).astype(np.uint8)
        noise = np.packbits(np.concatenate([np.zeros(0, np.uint8), *lower])).tobytes()
        weights = deflated(numbers_of_bytes.tobytes() + noise, zlib.Z_RLE)
        # Parts that end at a whole byte and refer to nothing before them can follow each other
        stored = deflated(bytes(without), last=False) + weights
        return Rounded(bytes(content), stored)


def _place(layer: _Layer) -> Dict[str, int]:
    each = 1 if layer.by_last_axis else layer.columns
    return {
        "start": layer.start,
        "count": layer.count,
        "rows": layer.rows,
        "columns": layer.columns,
        "each": each,
    }


def _guessed(matrix: Any, weights: int) -> Errors:
    """Rows of larger weights bear larger errors, and so does a layer that has many weights."""
    largest = np.abs(matrix).max(axis=1) + 1e-12
    return Errors(weights / matrix.size / largest**2, np.ones(matrix.shape[1]))


def _lower_bits(steps: Any) -> Any:
    """By row: how many bits of its numbers do not fit into the upper byte."""
    largest = np.abs(steps).max(axis=1)
    return np.maximum(0, np.ceil(np.log2(np.maximum(largest, 1) + 1)).astype(int) - 7)


def _bits(numbers: Any, counts: Any) -> Any:
    """The lowest bits of each number, from its highest of them on: counts say how many."""
    places = np.arange(counts.max(initial=0) - 1, -1, -1)
    bits = (numbers[:, None] >> places) & 1
    return bits[places < counts[:, None]].astype(np.uint8)


def restored(unpacked: bytes, file_bytes: int, layers: List[Dict[str, int]]) -> bytes:
    """The file with its rounded weights, from what the page holds, inflated; see `Rounded`."""
    content = bytearray(unpacked[:file_bytes])
    held = np.frombuffer(unpacked, np.uint8, offset=file_bytes).astype(np.int64)
    power = sum(layer["rows"] for layer in layers)
    upper = power + sum(layer["rows"] + layer["columns"] for layer in layers)
    noise = upper + sum(layer["count"] for layer in layers)
    bits = np.unpackbits(held[noise:].astype(np.uint8))
    shift = bit = 0
    for layer in layers:
        count = layer["count"]
        row = np.arange(count) // layer["each"] % layer["rows"]
        column = np.arange(count) % layer["columns"]
        counts = held[shift + row]
        numbers = held[upper : upper + count]
        ends = bit + np.cumsum(counts)
        for place in range(int(counts.max(initial=0))):
            has_it = counts > place
            numbers[has_it] = 2 * numbers[has_it] + bits[(ends - counts + place)[has_it]]
        powers = held[power + row] + held[power + layer["rows"] + column] - 256
        values = np.ldexp((numbers - (128 << counts)).astype("<f4"), powers)
        content[layer["start"] : layer["start"] + 4 * count] = values.astype("<f4").tobytes()
        shift, upper, bit = shift + layer["rows"], upper + count, bit + int(counts.sum())
        power += layer["rows"] + layer["columns"]
    return bytes(content)


def deflated(content: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY, last: bool = True) -> bytes:
    """Bytes as zlib packs them, without a header; https://www.rfc-editor.org/rfc/rfc1951.

    Args:
        strategy: Z_RLE does not look for repeated bytes: weights have none.
        last: whether nothing follows.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return packer.compress(content) + packer.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def _layers(content: bytes) -> List[_Layer]:
    """The float32 weights of a file's layers, each once."""
    file = LiteFile(content)
    layers: Dict[int, _Layer] = {}
    for operation in file.operations:
        if operation.code not in _WITH_WEIGHTS:
            continue
        tensor = operation.inputs[1]
        weights = file.weights(tensor)
        layer = _Layer(tensor, weights.start, weights.shape, operation.code == _DEPTHWISE)
        if weights.start and layer.count >= _FEWEST:
            layers[weights.start] = layer
    return list(layers.values())
