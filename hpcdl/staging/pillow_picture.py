"""Pillow reads one image file: decoded, upright, with the colour and size that a set needs."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import signal
import stat
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from typing import TYPE_CHECKING, NamedTuple

from hpcdl.staging.plain_jpeg import plain_frame

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # nothing that runs another program
_ORIENTATION = 0x0112  # Exif 2.32, table 4
_GREY = {"1", "L", "LA", "La"}  # Pillow's modes
_ALPHA = {"LA", "La", "RGBA", "RGBa", "PA"}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_PNG = b"\x89PNG\r\n\x1a\n"


class SourceFile(NamedTuple):
    """A file that should be an image, as it was found: its place below the folder (with /), its class, size, time."""

    file: str
    label: int
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Wanted:
    """What becomes of each image.

    Args:
        folder: what the files' names are relative to.
        channels: 1 (grey) or 3 (RGB).
        size: (height, width) in pixels that images are resized to; None: as they are.
        classes: the names by class number where TFRecords are wanted; None for the bare pixels.
    """

    folder: str
    channels: int
    size: tuple[int, int] | None
    classes: tuple[str, ...] | None = None


class Picture(NamedTuple):
    """An image as it is stored, or why it cannot be.

    Args:
        data: uint8 pixels (height, width, channels), or a TFRecord; empty where it is unusable, or was written.
        size: (height, width), after all that was done.
        handled: what was done: grey, color, cmyk, palette, alpha, deep (16 bits), rotated, animated, resized.
        sha256: of the file; empty where it cannot be read.
        why: it is unusable; empty where it is not.
    """

    data: bytes = b""
    size: tuple[int, int] = (0, 0)
    handled: tuple[str, ...] = ()
    sha256: str = ""
    why: str = ""


def keep_memory() -> None:
    """Let freed memory stay with this process, where the C library is glibc.

    For each image some 100 kB come and go; with glibc's own settings they go back to the system each time, and a
    third of the processor time of small images is the system's giving them anew.
    Source: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)


def begin_worker() -> None:
    """A process that reads images for another one leaves Ctrl-C to it, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def read_all(
    wanted: Wanted, files: Sequence[SourceFile], target: str | None, begin: int
) -> list[Picture]:
    """Read some files, in their order.

    Args:
        wanted: what becomes of them.
        files: which.
        target: write the data of all that are usable to this file, instead of giving it back; None: give it back.
        begin: where in it.

    Raises:
        OSError: target cannot be written.
    """
    pictures = [read(wanted, file) for file in files]
    if target is None:
        return pictures
    data = [picture.data for picture in pictures if picture.data]
    handle = os.open(target, os.O_WRONLY)
    try:
        count = os.pwritev(handle, data, begin) if data else 0
        rest = (
            memoryview(b"".join(data))[count:] if count < sum(map(len, data)) else memoryview(b"")
        )
        while rest:
            begin, count = begin + count, os.pwrite(handle, rest, begin + count)
            rest = rest[count:]
    finally:
        os.close(handle)
    return [picture._replace(data=b"") for picture in pictures]


def read(wanted: Wanted, file: SourceFile) -> Picture:
    """Read one file; whatever is wrong with it stands in the answer."""
    try:
        content = _content(f"{wanted.folder}/{file.file}", file)
    except OSError as error:
        return Picture(why=error.strerror or str(error))
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return Picture(sha256=digest, why="is empty")
    try:
        image, handled = _decode(content, wanted)
        size = (image.height, image.width)
        if wanted.classes is None:
            return Picture(image.tobytes(), size, handled, digest)
        return Picture(
            _record(wanted.classes, file, content, image, handled), size, handled, digest
        )
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails in many ways, and each one is about this file
        from PIL import UnidentifiedImageError

        if isinstance(error, UnidentifiedImageError):
            return Picture(sha256=digest, why="is no JPEG, PNG, GIF, BMP, WebP, TIFF or PPM image")
        return Picture(
            sha256=digest,
            why=f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}",
        )


def _content(path: str, file: SourceFile) -> bytes:
    """The bytes of a regular file that is still what was found.

    Raises:
        OSError: with the reason.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for
    try:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode):
            raise OSError(0, "is no regular file")
        content = os.read(handle, seen.st_size + 1)
        while len(content) < seen.st_size and (more := os.read(handle, seen.st_size)):
            content += more
    finally:
        os.close(handle)
    if (len(content), seen.st_mtime_ns) != (file.bytes, file.mtime_ns):
        raise OSError(0, "was changed meanwhile")
    return content


def _decode(content: bytes, wanted: Wanted) -> tuple[Image.Image, tuple[str, ...]]:
    """The image in mode L or RGB and of the size wanted, and what was done for that."""
    handled: list[str] = []
    mode = "L" if wanted.channels == 1 else "RGB"
    image = _plain_jpeg(content)
    if image is not None:
        image = _colored(image, mode, handled)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of colour profiles and odd tags; damage is an error
            image = _colored(_upright(content, handled), mode, handled)
    if wanted.size is not None and wanted.size != (image.height, image.width):
        from PIL import Image

        handled.append("resized")
        image = image.resize((wanted.size[1], wanted.size[0]), Image.Resampling.BILINEAR)
    return image, tuple(handled)


def _plain_jpeg(content: bytes) -> Image.Image | None:
    """The image of a file that needs nothing but decoding; None for all others, and for damaged ones."""
    from PIL import Image

    frame = plain_frame(content)
    if frame is None:
        return None
    height, width, channels = frame
    mode = "RGB" if channels == 3 else "L"
    try:
        return Image.frombytes(mode, (width, height), content, "jpeg", mode, "")
    except ValueError:  # Pillow's own reader says what is wrong
        return None


@cache
def _formats() -> tuple[str, ...]:
    """Those formats that this Pillow was built to read."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _upright(content: bytes, handled: list[str]) -> Image.Image:
    """The first image of a file, turned as it should be seen, with 8 bits a channel."""
    from PIL import Image, ImageOps

    image: Image.Image = Image.open(io.BytesIO(content), formats=_formats())
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("its pixels have 32 bits; expected 8 or 16")
    if getattr(image, "is_animated", False):
        handled.append("animated")
        image.seek(0)
    rotated = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    image.load()
    if rotated:
        handled.append("rotated")
        image = ImageOps.exif_transpose(image)
    return _eight_bits(image, content, handled)


def _eight_bits(image: Image.Image, content: bytes, handled: list[str]) -> Image.Image:
    """Sixteen bits a channel become eight; Pillow itself does so with all but grey ones."""
    grey = image.mode == "I" or image.mode.startswith("I;16")
    if grey or (content.startswith(_PNG) and content[24] == 16):  # the bit depth in its header
        handled.append("deep")
    if not grey:
        return image
    import numpy as np
    from PIL.Image import fromarray

    deep = np.asarray(image).astype(np.int64).clip(0, 65535)
    return fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))


def _colored(image: Image.Image, mode: str, handled: list[str]) -> Image.Image:
    """The image in mode L or RGB. What is transparent keeps the colour that it has, as in Keras and TensorFlow."""
    if image.mode in ("P", "PA"):
        handled.append("palette")
    if image.mode in _ALPHA or "transparency" in image.info:
        handled.append("alpha")
    if image.mode == "CMYK":
        handled.append("cmyk")
    grey = image.mode in _GREY
    if grey != (mode == "L"):
        handled.append("grey" if grey else "color")
    if image.mode == mode:
        return image
    own = "L" if grey else "RGB"
    if image.mode != own:
        image = image.convert(own)
    return image if own == mode else image.convert(mode)


def _record(
    classes: Sequence[str],
    file: SourceFile,
    content: bytes,
    image: Image.Image,
    handled: Sequence[str],
) -> bytes:
    """The image as a TFRecord: the file's own bytes where they can stay, else a PNG."""
    from hpcdl.staging.tfrecord_writer import record

    if handled or not content.startswith((b"\xff\xd8", _PNG)):
        image.info.clear()  # a colour profile, or what was transparent
        out = io.BytesIO()
        image.save(out, "PNG")
        content = out.getvalue()
    return record(
        {
            "image/encoded": content,
            "image/height": image.height,
            "image/width": image.width,
            "image/class/label": file.label,
            "image/class/text": os.fsencode(classes[file.label]),
            "image/filename": os.fsencode(file.file),
        }
    )
