"""Writes TFRecord files without TensorFlow: each ``tf.train.Example`` as bytes in a frame."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from hpcdl.contract.wire_format import field, varint


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
        entry = field(1, name.encode()) + field(2, _feature(features[name]))
        entries += field(1, entry)
    example = field(1, entries)
    length = struct.pack("<Q", len(example))
    return b"".join((length, _masked_crc32c(length), example, _masked_crc32c(example)))


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return field(1, field(1, value))  # bytes_list.value
    return field(3, field(1, varint(value)))  # int64_list.value, packed


def _masked_crc32c(content: bytes) -> bytes:
    from google_crc32c import value

    crc = value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
