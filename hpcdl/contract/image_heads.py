"""Reads the size and orientation of JPEG and PNG files, and whether the files are complete."""

from __future__ import annotations

import os
import stat
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, List, NamedTuple, Optional, Tuple, Union

from hpcdl.contract import jpeg_markers as markers
from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown

_THREADS = 16  # a parallel file system may answer slowly, but many questions at once
# The first heads show whether it is slow, by the mean seconds for each
_FIRST, _SLOW_S = 100, 0.0005
_CHUNK_BYTES = 1 << 16
_PNG = b"\x89PNG\r\n\x1a\n"
_OTHERS = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}  # by their first bytes
_CONVERTIBLE = "is not a JPEG or PNG image but {}; hpcdl data pack converts it"
_PNG_END = b"IEND"


class Head(NamedTuple):
    """What the head of an image file tells.

    height: in pixels, once the image is upright.
    width: the same.
    orientation: EXIF's, 1 (upright) to 8.
    bits: of each value.
    """

    height: int
    width: int
    orientation: int
    bits: int = 8


def read_heads(paths: List[str], problems: List[str]) -> List[Head]:
    """The heads of image files, read many at a time.

    Args:
        paths: of the files.
        problems: what is wrong with files, added to.

    Returns:
        the heads of the files without a problem.
    """

    def look(path: str) -> Union[Head, str]:
        try:
            return read_head(path)
        except OSError as error:
            return "{}: {}".format(shown(path), error.strerror or error)
        except (ValueError, struct.error) as error:
            return "{}: {}".format(shown(path), error)

    begin = time.perf_counter()
    answers = [look(path) for path in paths[:_FIRST]]
    if time.perf_counter() - begin > len(answers) * _SLOW_S:
        with ThreadPoolExecutor(_THREADS) as pool:
            answers += pool.map(look, paths[_FIRST:])
    else:  # where files are near, threads only wait for each other
        answers += map(look, paths[_FIRST:])
    problems += [answer for answer in answers if isinstance(answer, str)]
    return [answer for answer in answers if isinstance(answer, Head)]


def read_head(path: str) -> Head:
    """The size and orientation of a JPEG or PNG file.

    Whatever follows an image's end is ignored, as all decoders do: phones put videos there.

    Raises:
        ValueError: it is neither, or cut short.
        OSError: it cannot be read.

    Sources: ITU-T T.81 annex B (JPEG), https://www.w3.org/TR/png/ (PNG).
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is not a regular file")
        start = file.read(26)
        if start[:2] == markers.START:
            head = _jpeg(file)
            _expect_end(file, markers.END)
        elif start[:8] == _PNG and start[12:16] == b"IHDR" and len(start) == 26:
            width, height = struct.unpack(">II", start[16:24])
            head = Head(height, width, 1, max(8, start[24]))
            file.seek(len(_PNG))
            _expect_end(file, _PNG_END)
        else:
            raise ValueError(_not_an_image(start))
    if not head.height or not head.width:
        raise ValueError("has no pixels")
    return head


def _not_an_image(start: bytes) -> str:
    """What is wrong with another file, by its first bytes."""
    if not start:
        return "is empty"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _CONVERTIBLE.format("WebP")
    for beginning, kind in _OTHERS.items():
        if start.startswith(beginning):
            return _CONVERTIBLE.format(kind)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is not a JPEG or PNG image but a web page; fetch it again"
    return "is not a JPEG or PNG image"


def _expect_end(file: BinaryIO, end: bytes) -> None:
    """Search for the image's end: near the file's end, then from the current place on.

    Args:
        file: at a place within the image.
        end: the bytes that end an image.

    Raises:
        ValueError: it is missing.
    """
    begin = file.tell()
    size = os.fstat(file.fileno()).st_size
    file.seek(max(begin, size - _CHUNK_BYTES))
    if end in file.read():
        return
    file.seek(begin)
    last_bytes = b""  # of the chunk before: the end may lie across two
    while True:
        chunk = file.read(_CHUNK_BYTES)
        if end in last_bytes + chunk:
            return
        if not chunk:
            raise ValueError("is cut short: the image has no end")
        last_bytes = chunk[1 - len(end) :]


def _jpeg(file: BinaryIO) -> Head:
    """Walk over a JPEG's segments to the image's data, where the file is left.

    Raises:
        ValueError: the segments are damaged or cut short.
    """
    orientation = 1
    size: Optional[Tuple[int, int]] = None
    file.seek(2)
    while True:
        kind = _next_marker(file)
        if kind in markers.NO_LENGTH:
            continue
        (length,) = struct.unpack(">H", _exactly(file, 2))
        if length < 2:
            raise ValueError("is damaged: a segment in its head has no length")
        if kind == markers.SCAN and size is not None:
            height, width = size
            if orientation > 4:  # it lies on its side
                height, width = width, height
            return Head(height, width, orientation)
        segment = file.tell()
        if kind in markers.FRAMES:
            height, width = struct.unpack(">xHH", _exactly(file, 5))
            size = height, width
        elif kind == markers.APPLICATION_1:
            orientation = _orientation(file.read(length - 2)) or orientation
        file.seek(segment + length - 2)


def _next_marker(file: BinaryIO) -> int:
    """The next marker's kind. Bytes before it are ignored, as libjpeg and Pillow do."""
    marker = file.read(2)
    if len(marker) == 2 and marker[0] == 0xFF and marker[1] not in (0x00, 0xFF):
        return marker[1]
    file.seek(-len(marker), os.SEEK_CUR)
    while True:
        chunk = file.read(_CHUNK_BYTES)
        place = chunk.find(b"\xff")
        while 0 <= place < len(chunk) - 1:
            if chunk[place + 1] not in (0x00, 0xFF):  # stuffed, or a fill byte
                file.seek(place + 2 - len(chunk), os.SEEK_CUR)
                return chunk[place + 1]
            place = chunk.find(b"\xff", place + 1)
        if len(chunk) < 2:
            raise ValueError("is cut short or damaged: its head has no end")
        file.seek(-1, os.SEEK_CUR)


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise ValueError("is cut short or damaged: its head has no end")
    return content


def _orientation(segment: bytes) -> int:
    """The orientation (1 to 8) in an application's segment; 0 if it tells none."""
    if not segment.startswith(markers.EXIF):
        return 0
    try:
        entry = markers.orientation_entry(segment[len(markers.EXIF) :])
    except (ValueError, struct.error):  # damaged: decoders take the image as it is
        return 0
    if entry is None or not 1 <= entry.value <= 8:
        return 0
    return entry.value


def one_size(heads: List[Head], where: str) -> Tuple[int, int]:
    """The (height, width) that all images share.

    Raises:
        DataError: they differ.
    """
    sizes = sorted({(head.height, head.width) for head in heads})
    if len(sizes) > 1:
        raise DataError(
            "{}: images differ in size, from {}x{} to {}x{} pixels; a model takes one size".format(
                shown(where), *sizes[0], *sizes[-1]
            ),
            "set data.image_size: [height, width]",
        )
    return sizes[0]
