"""Writes TFRecord files without TensorFlow: each ``tf.train.Example`` as bytes in a frame."""

from __future__ import annotations

import struct
from collections.abc import Mapping

# The wire type of everything that has a length: https://protobuf.dev/programming-guides/encoding/
_BYTES = 2


def record(features: Mapping[str, bytes | int]) -> bytes:
    """An Example with one value a feature, framed as a TFRecord file has it.

    Sources: tensorflow/core/example/{example,feature}.proto, and the format of the frame in
    https://www.tensorflow.org/tutorials/load_data/tfrecord: length, its masked CRC32C, the bytes,
    their masked CRC32C.

    Args:
        features: by name, bytes for a bytes_list, or a number from 0 for an int64_list. The same
            features give the same bytes, whatever their order.
    """
    entries = b""
    for name in sorted(features):
        entry = _field(1, name.encode()) + _field(2, _feature(features[name]))
        entries += _field(1, entry)
    example = _field(1, entries)
    length = struct.pack("<Q", len(example))
    return b"".join((length, _masked_crc32c(length), example, _masked_crc32c(example)))


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return _field(1, _field(1, value))  # bytes_list.value
    return _field(3, _field(1, _varint(value)))  # int64_list.value, packed


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """A number in base 128, its lowest seven bits first; the top bit tells that more follow."""
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)


def _masked_crc32c(content: bytes) -> bytes:
    from google_crc32c import value

    crc = value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
