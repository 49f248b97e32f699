"""Reads a .tflite file without TensorFlow: its operations, and where its float32 weights lie.

The format is a FlatBuffer. Fields have the numbers of TensorFlow's schema.fbs:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

import struct
from typing import Any, List, NamedTuple, Tuple

import numpy as np

_FLOAT32 = 0  # TensorType
_ARRAYS = {_FLOAT32: "<f4", 2: "<i4"}


class Weights(NamedTuple):
    """Float32 values in the file: those of one constant tensor.

    start: the offset of the first byte.
    shape: the tensor's.
    """

    start: int
    shape: Tuple[int, ...]


class Operation(NamedTuple):
    """One step of the graph: the number in BuiltinOperator, and the name of a custom operation.

    options: where the table of its options lies in the file; 0: it has none.
    """

    code: int
    custom: str
    inputs: List[int]
    outputs: List[int]
    options: int


class LiteFile:
    """The first graph of a .tflite file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        model = self._at(0)
        self._buffers = self._tables(model, 4)
        graph = self._tables(model, 2)[0]
        self._tensors = self._tables(graph, 0)
        self.types = [self._number(tensor, 1, "b") for tensor in self._tensors]
        codes = self._tables(model, 1)
        self.operations = []
        for step in self._tables(graph, 3):
            code = codes[self._number(step, 0, "I")]
            # Files from before 2020 have the number in one byte: field 0
            number = max(self._number(code, 0, "b"), self._number(code, 3, "i"))
            places = (self._numbers(step, 1), self._numbers(step, 2), self._follow(step, 4))
            self.operations.append(Operation(number, self._text(code, 1), *places))
        self.inputs, self.outputs = self._numbers(graph, 1), self._numbers(graph, 2)

    def weights(self, tensor: int) -> Weights:
        """Where a tensor's values lie; start 0: it is not a float32 constant."""
        table = self._tensors[tensor]
        buffer = self._buffers[self._number(table, 2, "I")]
        data = self._follow(buffer, 0)
        shape = tuple(self._numbers(table, 0))
        if not data or self._number(table, 1, "b") != _FLOAT32 or not self._read("I", data):
            return Weights(0, shape)
        return Weights(data + 4, shape)

    def constant(self, tensor: int) -> Any:
        """A tensor's values as an array; None: it is computed, or neither float32 nor int32."""
        table = self._tensors[tensor]
        data = self._follow(self._buffers[self._number(table, 2, "I")], 0)
        kind = _ARRAYS.get(self._number(table, 1, "b"))
        if not data or kind is None:
            return None
        shape = self.shape(tensor)
        return np.frombuffer(self._content, kind, int(np.prod(shape)), data + 4).reshape(shape)

    def shape(self, tensor: int) -> Tuple[int, ...]:
        """A tensor's shape, for one image."""
        return tuple(self._numbers(self._tensors[tensor], 0))

    def option(self, operation: Operation, field: int, form: str, standard: int = 0) -> int:
        """A number among an operation's options; form as in struct."""
        place = self._field(operation.options, field) if operation.options else 0
        return self._read(form, place) if place else standard

    def _read(self, form: str, place: int) -> int:
        value: int = struct.unpack_from("<" + form, self._content, place)[0]
        return value

    def _at(self, place: int) -> int:
        """Where an offset points to."""
        return place + self._read("I", place)

    def _field(self, table: int, field: int) -> int:
        """Where a table's field lies; 0 if it has the default value."""
        form = table - self._read("i", table)
        entry = 4 + 2 * field
        if entry >= self._read("H", form):
            return 0
        inside = self._read("H", form + entry)
        return table + inside if inside else 0

    def _follow(self, table: int, field: int) -> int:
        place = self._field(table, field)
        return self._at(place) if place else 0

    def _number(self, table: int, field: int, form: str) -> int:
        place = self._field(table, field)
        return self._read(form, place) if place else 0

    def _numbers(self, table: int, field: int) -> List[int]:
        vector = self._follow(table, field)
        if not vector:
            return []
        count = self._read("I", vector)
        return list(struct.unpack_from("<{}i".format(count), self._content, vector + 4))

    def _tables(self, table: int, field: int) -> List[int]:
        vector = self._follow(table, field)
        count = self._read("I", vector) if vector else 0
        return [self._at(vector + 4 + 4 * place) for place in range(count)]

    def _text(self, table: int, field: int) -> str:
        vector = self._follow(table, field)
        if not vector:
            return ""
        count = self._read("I", vector)
        return self._content[vector + 4 : vector + 4 + count].decode("utf-8", "replace")
