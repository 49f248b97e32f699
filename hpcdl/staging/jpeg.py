"""Whether a JPEG file is a plain one, by its first markers: Pillow's decoder then takes it without Pillow's own reader.

For small images that reader, which is Python, takes as long as decoding does.
"""

from __future__ import annotations

import struct

_HEADERS = {
    0xC4,
    0xDB,
    0xDD,
    0xFE,
    *range(0xE0, 0xF0),
}  # tables, comments and what applications put before the image
_MOST_PIXELS = 1 << 26  # larger ones are for Pillow's own reader, which has a limit
_ORIENTATION = 0x0112


def plain_frame(content: bytes) -> tuple[int, int, int] | None:
    """The (height, width, channels) of an upright, single JPEG image of 8 bits, grey or of three colours.

    Source: ITU-T T.81, annex B (markers); Exif 2.32, 4.6 (the orientation).

    Returns:
        None for all others, also those that are damaged before the image begins.
    """
    frame, at, exif = None, 2, 0
    if content[:2] != b"\xff\xd8":
        return None
    try:
        while True:
            sign, marker, length = struct.unpack_from(">BBH", content, at)
            if sign != 0xFF:
                return None
            if marker in (0xC0, 0xC1, 0xC2):  # Huffman, sequential or progressive
                depth, height, width, channels = struct.unpack_from(">BHHB", content, at + 4)
                if (
                    frame
                    or depth != 8
                    or channels not in (1, 3)
                    or not 0 < height * width <= _MOST_PIXELS
                ):
                    return None
                frame = height, width, channels
            elif marker == 0xDA:  # the image begins
                return frame
            elif marker not in _HEADERS:
                return None
            elif marker == 0xE1:
                segment = content[at + 4 : at + 2 + length]
                if segment.startswith(b"Exif\0\0"):
                    exif += 1
                    if exif > 1 or not _is_upright(segment[6:]):
                        return None
                elif b"Orientation" in segment:  # Adobe's XMP
                    return None
            elif marker == 0xE2 and content[at + 4 : at + 8] == b"MPF\0":  # several images
                return None
            at += 2 + length
    except struct.error:
        return None


def _is_upright(exif: bytes) -> bool:
    """Whether the TIFF block of an Exif segment says so, or says nothing."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return False
    (at,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == _ORIENTATION:
            return (kind, values, value) == (3, 1, 1)
    return True
