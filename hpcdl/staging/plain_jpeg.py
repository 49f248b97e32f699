"""Tells by its first markers whether Pillow's decoder takes a JPEG file without Pillow's reader.

That reader is Python: for small images it takes as long as decoding does. So this one refuses what
it does not know, while `hpcdl.contract.image_heads` passes over it, as decoders do.
"""

from __future__ import annotations

import struct

from hpcdl.contract import jpeg_markers as markers

_MOST_PIXELS = 1 << 26  # larger images are for Pillow's own reader, which has a limit
_TIFF = (b"II*\0", b"MM\0*")
_UPRIGHT = (3, 1, 1)  # a 16-bit number, one of it, orientation 1


def plain_frame(content: bytes) -> tuple[int, int, int] | None:
    """The size of a plain JPEG image: upright, single, of 8 bits, grey or of three colours.

    Args:
        content: the file.

    Returns:
        (height, width, channels); None for all other images, also if the head is damaged.
    """
    if content[:2] != markers.START:
        return None
    try:
        return _frame(content)
    except struct.error:
        return None


def _frame(content: bytes) -> tuple[int, int, int] | None:
    """Walk over the segments to the image's data.

    Raises:
        struct.error: they are cut short.
    """
    frame = None
    has_exif = False
    place = len(markers.START)
    while True:
        sign, marker, length = struct.unpack_from(">BBH", content, place)
        if sign != 0xFF:
            return None
        if marker == markers.SCAN:
            return frame
        segment = content[place + 4 : place + 2 + length]
        if marker in markers.HUFFMAN_FRAMES:
            if frame is not None:
                return None
            frame = _plain_size(content, place)
            if frame is None:
                return None
        elif not _is_plain_header(marker, segment, has_exif):
            return None
        has_exif = has_exif or segment.startswith(markers.EXIF)
        place += 2 + length


def _plain_size(content: bytes, place: int) -> tuple[int, int, int] | None:
    """The (height, width, channels) of a frame of 8 bits, grey or of three colours.

    Args:
        content: the file.
        place: of the frame's marker.
    """
    depth, height, width, channels = struct.unpack_from(">BHHB", content, place + 4)
    if depth != 8 or channels not in (1, 3) or not 0 < height * width <= _MOST_PIXELS:
        return None
    return height, width, channels


def _is_plain_header(marker: int, segment: bytes, has_exif: bool) -> bool:
    """Whether a segment before the image's data may be passed over.

    Args:
        marker: of the segment.
        segment: what follows its length.
        has_exif: whether an earlier segment has EXIF: a second one would be another image's.
    """
    if marker == markers.APPLICATION_1:
        return _is_upright(segment) and not (has_exif and segment.startswith(markers.EXIF))
    if marker == markers.APPLICATION_2:
        return not segment.startswith(b"MPF\0")  # several images
    return marker in markers.HEADERS


def _is_upright(segment: bytes) -> bool:
    """Whether an application's segment tells of no other orientation."""
    if not segment.startswith(markers.EXIF):
        return b"Orientation" not in segment  # Adobe's XMP has it as text
    tiff = segment[len(markers.EXIF) :]
    if tiff[:4] not in _TIFF:
        return False
    entry = markers.orientation_entry(tiff)
    return entry is None or entry == _UPRIGHT
