"""The four arrays of a data set in ``.npz`` and IDX files: their names, and what heads must say."""

from __future__ import annotations

import struct
import zipfile
from typing import BinaryIO, List, Tuple

NAMES = ("x_train", "y_train", "x_test", "y_test")
_NPY = ".npy"
_IDX_UNSIGNED_BYTE = 8


def stored_arrays(archive: zipfile.ZipFile) -> List[str]:
    """The names of the arrays in an .npz file."""
    return [name[: -len(_NPY)] for name in archive.namelist() if name.endswith(_NPY)]


def member_of(name: str) -> str:
    """The member of an .npz file that holds an array."""
    return name + _NPY


def not_stored(file_name: str, stored: List[str]) -> str:
    """What is wrong when an .npz file lacks an array."""
    return "is not in {}; found {}".format(file_name, ", ".join(stored) or "nothing")


def unreadable(error: Exception) -> str:
    """What is wrong with an array that cannot be read, by the error of reading it."""
    if isinstance(error, ValueError) and "allow_pickle" in str(error):
        return "holds Python objects (dtype object); expected numbers"
    return "cannot be read ({}: {}); the file is damaged, expected a whole array".format(
        type(error).__name__, error
    )


def idx_head_bytes(dimensions: int) -> int:
    """The length of an IDX file's head."""
    return 4 + 4 * dimensions


def read_idx_shape(file: BinaryIO, dimensions: int) -> Tuple[int, ...]:
    """Read the head of an IDX file of unsigned bytes; the file is left at its first value.

    Source: "The IDX file format" in http://yann.lecun.com/exdb/mnist/.

    Args:
        file: unpacked, at its beginning.
        dimensions: of the array that is expected.

    Raises:
        ValueError: the head is another one, or cut short.
    """
    head = file.read(idx_head_bytes(dimensions))
    magic = bytes([0, 0, _IDX_UNSIGNED_BYTE, dimensions])
    if len(head) < idx_head_bytes(dimensions) or head[:4] != magic:
        raise ValueError(
            "starts with {}; expected {}, an IDX file of unsigned bytes".format(
                head[:4].hex() or "nothing", magic.hex()
            )
        )
    return struct.unpack(">{}I".format(dimensions), head[4:])


def wrong_idx_size(value_bytes: int, shape: Tuple[int, ...]) -> str:
    """What is wrong with an IDX file whose values are not those of its shape; else nothing."""
    expected = 1
    for size in shape:
        expected *= size
    if value_bytes == expected:
        return ""
    return "holds {} bytes after its header; expected {} for shape {}".format(
        value_bytes, expected, shape
    )
