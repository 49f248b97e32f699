"""The markers of JPEG files, and where EXIF keeps an image's orientation.

Sources: ITU-T T.81, annex B (the markers); Exif 2.32, 4.6 (the orientation).
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

START = b"\xff\xd8"
END = b"\xff\xd9"
SCAN = 0xDA  # after it, the image's data begin
APPLICATION_1 = 0xE1  # EXIF, and Adobe's XMP
APPLICATION_2 = 0xE2
NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))  # markers that stand alone
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers with the image's size
HUFFMAN_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # sequential and progressive ones
# Tables, comments, and what applications put before the image
HEADERS = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
EXIF = b"Exif\0\0"  # how the EXIF segment begins; a TIFF block follows
_ORIENTATION = 0x0112
_ENTRY_BYTES = 12
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}


class OrientationEntry(NamedTuple):
    """An entry for the orientation, as TIFF stores it.

    kind: of the value; 3 is the right one, a 16-bit number.
    values: how many values there are; 1 is the right number.
    value: 1 (upright) to 8.
    """

    kind: int
    values: int
    value: int


def orientation_entry(tiff: bytes) -> Optional[OrientationEntry]:
    """The orientation in the TIFF block of an EXIF segment; None if it tells none.

    Raises:
        struct.error: the block is cut short.
        ValueError: it does not begin as a TIFF block.
    """
    order = _BYTE_ORDERS.get(tiff[:2])
    if order is None:
        raise ValueError("not a TIFF block")
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, first)
    begin = first + 2
    for place in range(begin, begin + _ENTRY_BYTES * count, _ENTRY_BYTES):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, place)
        if tag == _ORIENTATION:
            return OrientationEntry(kind, values, value)
    return None
