"""Decodes an image file with Pillow to the pixels that the training's decoder gives.

That is `hpcdl/trainer/dataset/decode.py`, in TensorFlow. Both use libjpeg and libpng; what Pillow
does differently by default is done here as TensorFlow does it. `is_alike` shows whether this
machine's Pillow has a libjpeg that gives the same pixels.
"""

from __future__ import annotations

import base64
import io
import warnings
import zlib
from typing import TYPE_CHECKING, Any, List, Tuple

import numpy as np

from hpcdl.contract.new_images import Image as ImageHead
from hpcdl.contract.new_images import look
from hpcdl.trainer.dataset.resizing import resized

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_ONE_COLOUR = "has one colour only"
_MIRRORED_AXES = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}  # after transposing
_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)  # of tf.image.rgb_to_grayscale
_PNG_WEIGHTS = np.array([9797, 19234, 3737])  # 0.299, 0.587 and the rest, of 32768
_FORMATS = ("JPEG", "PNG")
# A JPEG of 21x13 pixels with halved colours, and the CRC-32 of its pixels as TensorFlow 2.11 and
# 2.21 decode it, by the number of channels
_JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywt"
    "QFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT0//wAARCAANABUDASIAAhEBAxEB/8QAGAAAAwEBAAAAAAAAAAAAAAAAAAUGAgf/xAAm"
    "EAABAwMDAgcAAAAAAAAAAAABAAIRAwQhBRIxE1EUIkGBkaHw/8QAFwEAAwEAAAAAAAAAAAAAAAAAAwQFBv/EABwRAQAB"
    "BAMAAAAAAAAAAAAAAAEAAwURIQIEBv/aAAwDAQACEQMRAD8Azbam4OmcnMRzn98pnb6n5WwQAPXifcrndveVBV6YwJA5"
    "Tq0uKgcBJg5U+naSrtgujbgxL2lqLIjfIHb7QpHxzgxu5pPaHITZ5mmmWaXjbwNk/9k="
)
_CHECKSUMS = {1: 2671415373, 3: 3871275624}


class UnusableImageError(Exception):
    """A file cannot be predicted; the message says why, without the file's name."""


def read_image(
    path: str, shape: Tuple[int, ...], rounds: bool
) -> Tuple[NDArray[Any], NDArray[Any], List[str]]:
    """Read one image as a model takes it.

    Args:
        path: of the file.
        shape: (height, width, channels) of the model's images; 1 or 3 channels.
        rounds: whether the training rounded a resized image to whole grey levels.

    Returns:
        the image as float32 in [0, 1] and as uint8, both of this shape, and notes on what may make
        the answer worse.

    Raises:
        UnusableImageError: the file is not an image, damaged, or of a kind that was not trained on.
    """
    head = look(path, shape)
    if not isinstance(head, ImageHead):
        raise UnusableImageError(head)
    pixels = _upright(_decoded(path, shape[2]), head.orientation)
    values = pixels.astype(np.float32)
    if pixels.shape != shape:
        values = resized(pixels, shape[0], shape[1])
        pixels = np.rint(values).astype(np.uint8)
    if rounds:
        values = pixels.astype(np.float32)
    notes = list(head.notes)
    if pixels.min() == pixels.max():
        notes.append(_ONE_COLOUR)
    return values / np.float32(255), pixels, notes


def read_pixels(path: str, orientation: int, shape: Tuple[int, ...]) -> NDArray[Any]:
    """One image as uint8 of this shape, as the training's decoder gives it.

    Args:
        path: of a JPEG or PNG file.
        orientation: EXIF's, 1 (upright) to 8.
        shape: (height, width, channels); 1 or 3 channels.

    Raises:
        UnusableImageError: Pillow cannot decode it.
    """
    pixels = _upright(_decoded(path, shape[2]), orientation)
    if pixels.shape == tuple(shape):
        return pixels
    whole: NDArray[Any] = np.rint(resized(pixels, shape[0], shape[1])).astype(np.uint8)
    return whole


def version() -> str:
    """The version of Pillow.

    Raises:
        ImportError: it is not installed.
    """
    import PIL

    return str(PIL.__version__)


def is_alike() -> bool:
    """Whether this Pillow gives a small JPEG the pixels that TensorFlow gives it.

    Pillow can be built with other decoders than libjpeg-turbo, which round in another way.
    """
    for channels, checksum in _CHECKSUMS.items():
        content = io.BytesIO(base64.b64decode(_JPEG))
        if zlib.crc32(_decoded(content, channels).tobytes()) != checksum:
            return False
    return True


def _decoded(path: Any, channels: int) -> NDArray[Any]:
    """The uint8 pixels (height, width, channels) as the file has them.

    Raises:
        UnusableImageError: it cannot be decoded.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images and odd tags; damage is an error
            with Image.open(path, formats=_FORMATS) as image:
                return _pixels(image, channels)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails in many ways, and each one is about this file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnusableImageError("cannot be decoded: {}".format(reason)) from error


def _pixels(image: Image, channels: int) -> NDArray[Any]:
    """The pixels of an opened image, as TensorFlow gives them for this number of channels."""
    if channels == 1 and image.format == "JPEG" and image.mode == "RGB":
        image.draft("L", image.size)  # libjpeg's own grey: the first channel as it is stored
    if image.mode == "CMYK":
        rgb = _without_inks(np.asarray(image))
        return _luma(rgb) if channels == 1 else rgb
    if image.mode in ("P", "PA", "1"):
        image = image.convert("RGB" if image.mode != "1" else "L")
    if image.mode in ("LA", "La"):
        image = image.convert("L")
    if image.mode in ("RGBA", "RGBa"):
        image = image.convert("RGB")  # transparent pixels keep the colour that they have
    pixels = np.asarray(image, np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return _png_grey(pixels)


def _without_inks(inks: NDArray[Any]) -> NDArray[Any]:
    """CMYK as RGB. Source: TensorFlow's core/lib/jpeg/jpeg_mem.cc."""
    left = 255 - inks.astype(np.int32)
    return (left[..., :3] * left[..., 3:] // 255).astype(np.uint8)


def _luma(rgb: NDArray[Any]) -> NDArray[Any]:
    """RGB as grey, as tf.image.rgb_to_grayscale has it."""
    grey: NDArray[Any] = rgb.astype(np.float32) / np.float32(255) @ _LUMA
    return (grey * np.float32(255.5)).astype(np.uint8)[..., None]


def _png_grey(rgb: NDArray[Any]) -> NDArray[Any]:
    """RGB as grey. Source: libpng's pngrtran.c, with the weights that TensorFlow gives it."""
    grey: NDArray[Any] = rgb.astype(np.int32) @ _PNG_WEIGHTS >> 15
    return grey.astype(np.uint8)[..., None]


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """An image turned as EXIF's orientation (1 to 8) says."""
    if orientation > 4:
        pixels = pixels.transpose(1, 0, 2)
    axes = _MIRRORED_AXES.get(orientation)
    if axes is None:
        return pixels
    return np.flip(pixels, axes)
