"""A folder of images per class: which files are there, what their heads say, and how they are decoded.

The checks before a job is sent read folders with it as well: numpy and tensorflow are not imported here.
"""

from __future__ import annotations

import os
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Dict, List, NamedTuple, Optional, Tuple

from hpcdl.trainer.errors import DataError

KINDS = (".jpg", ".jpeg", ".png")
JUNK = ("Thumbs.db", "desktop.ini")  # what file managers leave
PARTS = {  # which part of a set a folder of this name is
    **dict.fromkeys(("train", "training", "val", "valid", "validation"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SHOWN = 10  # problems named in a message
_HEADS_AT_ONCE = 16  # a parallel file system may answer slowly, but many at once
_FIRST_HEADS, _SLOW_S = 100, 0.0005  # how many tell whether it does: seconds for each
_TAIL_BYTES = 65536  # cameras write a little after an image's end


class Listing(NamedTuple):
    """The image files of one part: paths, and the class number of each, from 0."""

    paths: List[str]
    labels: List[int]


class Folder(NamedTuple):
    """A folder of images per class: class names, the parts ``train`` and perhaps ``test``, what is wrong."""

    classes: List[str]
    parts: Dict[str, Listing]
    problems: List[str]


class Head(NamedTuple):
    """What the first bytes of an image say: its size once it is turned upright, and EXIF's orientation (1 to 8)."""

    height: int
    width: int
    orientation: int


def list_folder(folder: str) -> Optional[Folder]:
    """List a folder of images per class: a folder for each, or such folders below ``train`` and ``test``.

    Their names may be those in `PARTS` as well; the images of a validation folder belong to the training part, of which
    data.validation_split takes its share.

    Returns:
        None where the folder holds no folders: it is something else.

    Raises:
        OSError: it cannot be read.
    """
    inside = _folders(folder)
    if not inside:
        return None
    tops: Dict[str, List[str]] = {"train": [folder]}
    if all(name.lower() in PARTS for name in inside):
        tops = {}
        for name in inside:
            tops.setdefault(PARTS[name.lower()], []).append(os.path.join(folder, name))
    classes = sorted({name for each in tops.values() for top in each for name in _folders(top)})
    problems = [] if "train" in tops else ["{}: has {} but no train folder".format(folder, ", ".join(inside))]
    if len(classes) < 2:
        names = ", ".join(classes) or "none"
        problems.append("{}: holds folders of these classes: {}; expected at least 2".format(folder, names))
    parts = {part: _list_part(each, classes, problems) for part, each in sorted(tops.items(), reverse=True)}
    return Folder(classes, parts, problems)


def _folders(folder: str) -> List[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _list_part(tops: List[str], classes: List[str], problems: List[str]) -> Listing:
    found = Listing([], [])
    for number, name in enumerate(classes):
        before = len(found.paths)
        for path in (path for top in tops for path in _walk(os.path.join(top, name))):
            if path.lower().endswith(KINDS):
                found.paths.append(path)
                found.labels.append(number)
            else:
                problems.append("{}: is no .jpg, .jpeg or .png file (hpcdl data pack converts others)".format(path))
        if len(found.paths) == before:
            problems.append("{}: holds no images; expected some of class {}".format(os.path.join(tops[0], name), name))
    return found


def _walk(folder: str) -> List[str]:
    """All files below a folder, sorted, without hidden ones and junk."""
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(here, name) for name in sorted(files) if not name.startswith(".") and name not in JUNK]
    return found


def read_heads(paths: List[str], problems: List[str]) -> List[Head]:
    """The heads of image files, many at a time; what is wrong with a file is added to `problems`."""

    def look(path: str) -> Any:
        try:
            return read_head(path)
        except (OSError, ValueError, struct.error) as error:
            return "{}: {}".format(path, error)

    begin = time.perf_counter()
    found = [look(path) for path in paths[:_FIRST_HEADS]]
    if time.perf_counter() - begin > len(found) * _SLOW_S:
        with ThreadPoolExecutor(_HEADS_AT_ONCE) as pool:
            found += pool.map(look, paths[_FIRST_HEADS:])
    else:  # where files are near, threads only wait for each other
        found += map(look, paths[_FIRST_HEADS:])
    problems += [head for head in found if isinstance(head, str)]
    return [head for head in found if isinstance(head, Head)]


def read_head(path: str) -> Head:
    """The size and orientation of a JPEG or PNG file.

    Raises:
        ValueError: it is neither, or cut short.
        OSError: it cannot be read.

    Sources: ITU-T T.81 annex B (JPEG), https://www.w3.org/TR/png/ (PNG).
    """
    with open(path, "rb") as file:
        start = file.read(26)
        if start[:2] == b"\xff\xd8":
            head, end = _jpeg(file), b"\xff\xd9"
        elif start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR" and len(start) == 26:
            width, height = struct.unpack(">II", start[16:24])
            head, end = Head(height, width, 1), b"IEND"
        else:
            raise ValueError("is no JPEG or PNG image" if start else "is empty")
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        if end not in file.read():
            raise ValueError("is cut short: the image has no end")
    if not head.height or not head.width:
        raise ValueError("has no pixels")
    return head


def _jpeg(file: BinaryIO) -> Head:
    """Walk over a JPEG's segments to the one with its size."""
    orientation = 1
    file.seek(2)
    while True:
        marker = file.read(4)
        if len(marker) < 4 or marker[0] != 0xFF:
            raise ValueError("is cut short or damaged: no size in its head")
        if marker[1] == 0xFF:  # a fill byte
            file.seek(-3, os.SEEK_CUR)
            continue
        kind, length = marker[1], struct.unpack(">H", marker[2:])[0]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">xHH", file.read(5))
            return Head(width, height, orientation) if orientation > 4 else Head(height, width, orientation)
        if kind == 0xE1:
            orientation = _orientation(file.read(length - 2)) or orientation
        else:
            file.seek(length - 2, os.SEEK_CUR)


def _orientation(segment: bytes) -> int:
    """The orientation tag (0x0112) in an APP1 segment's EXIF, 0 where it has none. Source: EXIF 2.3, section 4.6.4."""
    order = {b"II": "<", b"MM": ">"}.get(segment[6:8])
    if segment[:6] != b"Exif\0\0" or order is None:
        return 0
    tiff = segment[6:]
    try:
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, first)
        for place in range(first + 2, first + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, place)
            if tag == 0x0112 and 1 <= value <= 8:
                return int(value)
    except struct.error:
        pass
    return 0


def one_size(heads: List[Head], where: str) -> Tuple[int, int]:
    """The (height, width) that all images share.

    Raises:
        DataError: they differ.
    """
    sizes = sorted({(head.height, head.width) for head in heads})
    if len(sizes) > 1:
        raise DataError(
            "{}: images differ in size, from {}x{} to {}x{} pixels; a model takes one size".format(
                where, *sizes[0], *sizes[-1]
            ),
            "set data.image_size: [height, width]",
        )
    return sizes[0]


def decode(content: Any, orientation: Any, shape: Tuple[int, ...], resizes: bool = True) -> Any:
    """In a graph: one file's content as a uint8 image of `shape`, upright and resized.

    Args:
        content: a JPEG's or PNG's bytes, a scalar string tensor.
        orientation: EXIF's, a scalar tensor; None where all images are upright.
        resizes: whether some of the images have another size.
    """
    import tensorflow as tf

    image = tf.io.decode_jpeg(content, channels=shape[2], dct_method="INTEGER_ACCURATE")  # reads PNG as well
    if orientation is not None:
        image = tf.switch_case(tf.cast(orientation, tf.int32) - 1, [_turned(image, number) for number in range(1, 9)])
        image.set_shape([None, None, shape[2]])

    if not resizes:
        return tf.ensure_shape(image, shape)

    def resized() -> Any:
        return tf.cast(tf.round(tf.image.resize(image, shape[:2], antialias=True)), tf.uint8)

    same = tf.reduce_all(tf.shape(image)[:2] == shape[:2])
    return tf.ensure_shape(tf.cond(same, lambda: image, resized), shape)


def _turned(image: Any, orientation: int) -> Any:
    """What shows an image upright: orientations 5 to 8 are transposed, then some are mirrored."""
    import tensorflow as tf

    def upright() -> Any:
        turned = tf.transpose(image, [1, 0, 2]) if orientation > 4 else image
        axes = {2: [1], 3: [0, 1], 4: [0], 6: [1], 7: [0, 1], 8: [0]}.get(orientation, [])
        return tf.reverse(turned, axes) if axes else turned

    return upright
