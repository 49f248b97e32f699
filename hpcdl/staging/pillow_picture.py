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
    """A file that should be an image.

    Args:
        file: its path below the folder, with ``/``.
        label: its class number.
        bytes: its size when the folder was listed.
        mtime_ns: its time of change at that moment.
    """

    file: str
    label: int
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Conversion:
    """What each image is converted to.

    Args:
        folder: what the files' names are relative to.
        channels: 1 (grey) or 3 (RGB).
        size: (height, width) in pixels that images are resized to; None leaves them as they are.
        classes: the names by class number, for TFRecords; None for bare pixels.
    """

    folder: str
    channels: int
    size: tuple[int, int] | None
    classes: tuple[str, ...] | None = None


class Picture(NamedTuple):
    """An image as it is stored, or why it cannot be.

    Args:
        data: uint8 pixels (height, width, channels), or a TFRecord; empty if it is unusable, or
            was written already.
        size: (height, width) in pixels, after the conversion.
        handled: the steps of the conversion: grey, color, cmyk, palette, alpha, deep (16 bits),
            rotated, animated, resized.
        sha256: of the file; empty if it cannot be read.
        why: the reason if it is unusable, else empty.
    """

    data: bytes = b""
    size: tuple[int, int] = (0, 0)
    handled: tuple[str, ...] = ()
    sha256: str = ""
    why: str = ""


def keep_memory() -> None:
    """Let freed memory stay with this process, if the C library is glibc.

    Each image takes and frees some 100 kB. By default glibc returns them to the system each time,
    and a third of the processor time of small images goes into getting them again.
    Source: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)


def begin_worker() -> None:
    """Prepare a process that reads images for another one.

    It leaves Ctrl-C to the other one, and does not outlive it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def read_all(
    conversion: Conversion, files: Sequence[SourceFile], target: str | None, begin: int
) -> list[Picture]:
    """Read some files, in their order.

    Args:
        conversion: what they are converted to.
        files: which.
        target: a file to write the data of all usable ones to, instead of returning it; None
            returns it.
        begin: where in it.

    Raises:
        OSError: target cannot be written.
    """
    pictures = [read(conversion, file) for file in files]
    if target is None:
        return pictures
    data = [picture.data for picture in pictures if picture.data]
    if data:
        _write_all(target, begin, data)
    return [picture._replace(data=b"") for picture in pictures]


def _write_all(target: str, begin: int, data: list[bytes]) -> None:
    """Write data into a file, from a place on.

    Raises:
        OSError: it cannot be written.
    """
    handle = os.open(target, os.O_WRONLY)
    try:
        written = os.pwritev(handle, data, begin)
        if written == sum(map(len, data)):
            return
        rest = memoryview(b"".join(data))[written:]  # rarely: a signal, or a disk almost full
        while rest:
            begin += written
            written = os.pwrite(handle, rest, begin)
            rest = rest[written:]
    finally:
        os.close(handle)


def read(conversion: Conversion, file: SourceFile) -> Picture:
    """Read one file; the answer says whatever is wrong with it."""
    try:
        content = _content(f"{conversion.folder}/{file.file}", file)
    except OSError as error:
        return Picture(why=error.strerror or str(error))
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return Picture(sha256=digest, why="is empty")
    try:
        image, handled = _decode(content, conversion)
        size = (image.height, image.width)
        if conversion.classes is None:
            data = image.tobytes()
        else:
            data = _record(conversion.classes, file, content, image, handled)
        return Picture(data, size, handled, digest)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails in many ways, and each one is about this file
        return Picture(sha256=digest, why=_why(error))


def _why(error: Exception) -> str:
    """The reason why a file is unusable."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "is not a JPEG, PNG, GIF, BMP, WebP, TIFF or PPM image"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be decoded: {reason}"


def _content(path: str, file: SourceFile) -> bytes:
    """The bytes of a regular file that has not changed since the folder was listed.

    Raises:
        OSError: with the reason.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "is not a regular file")
        content = os.read(handle, state.st_size + 1)
        while len(content) < state.st_size and (more := os.read(handle, state.st_size)):
            content += more
    finally:
        os.close(handle)
    if (len(content), state.st_mtime_ns) != (file.bytes, file.mtime_ns):
        raise OSError(0, "was changed meanwhile")
    return content


def _decode(content: bytes, conversion: Conversion) -> tuple[Image.Image, tuple[str, ...]]:
    """The converted image in mode L or RGB, and the steps of the conversion."""
    handled: list[str] = []
    mode = "L" if conversion.channels == 1 else "RGB"
    image = _plain_jpeg(content)
    if image is not None:
        image = _colored(image, mode, handled)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of colour profiles and odd tags; damage is an error
            image = _colored(_upright(content, handled), mode, handled)
    size = conversion.size
    if size is not None and size != (image.height, image.width):
        from PIL import Image

        handled.append("resized")
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return image, tuple(handled)


def _plain_jpeg(content: bytes) -> Image.Image | None:
    """The image of a file that needs nothing but decoding; None for others and damaged ones."""
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
    """The formats of `_FORMATS` that this Pillow was built to read."""
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
    """The image in mode L or RGB.

    Transparent pixels keep the colour that they have, as in Keras and TensorFlow.
    """
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
    """The image as a TFRecord: with the file's own bytes if they can stay, else with a PNG."""
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
