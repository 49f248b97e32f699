"""Augmentation: random changes of training images, in the graph.

TensorFlow's and Keras's own random functions draw other numbers in other versions. So numpy draws
them here, for all rows of an epoch at once, and a step uses the numbers of its rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Sequence

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Each image has a number for each of these, always in this order: leaving out a change does not
# alter the others
_DRAWN = (
    "flip_x",
    "flip_y",
    "rotate",
    "zoom",
    "shift_y",
    "shift_x",
    "contrast",
    "brightness",
    "cutout_y",
    "cutout_x",
)
_STREAM = 0xA06  # keeps these numbers apart from those of the epochs' orders
_GREY = 0.5


def draw(rows: int, seed: int, epoch: int) -> NDArray[Any]:
    """The random numbers of one epoch.

    Args:
        rows: of the epoch.
        seed: the run's.
        epoch: from 0.

    Returns:
        float32 (rows, kinds) in [0, 1), by place in the epoch's order.
    """
    random = np.random.default_rng([seed, epoch, _STREAM])
    return random.random((rows, len(_DRAWN)), dtype=np.float32)


def augmented(images: Any, numbers: Any, entries: Sequence[Dict[str, Any]]) -> Any:
    """Change images as ``data.augment`` says, in TensorFlow.

    The order of the list does not matter. First come flip, rotate, zoom and shift, all in one
    bilinear resampling that reflects the image at its edge; then contrast, brightness and cutout.

    Args:
        images: float32 (rows, height, width, channels) in [0, 1].
        numbers: float32 (rows, kinds), the rows' part of `draw`.
        entries: of ``data.augment``, checked by `spec.augment_problems`.

    Returns:
        images of the same shape and range.
    """
    changes: Dict[str, Any] = {}
    for entry in entries:
        changes.update(entry)
    drawn = dict(zip(_DRAWN, tf.unstack(numbers, axis=1)))
    if set(changes) & {"flip", "rotate", "zoom", "shift"}:
        images = _resampled(images, drawn, changes)
    if set(changes) & {"contrast", "brightness"}:
        images = _recoloured(images, drawn, changes)
    if "cutout" in changes:
        images = _cut_out(images, drawn, changes["cutout"])
    return images


def _resampled(images: Any, drawn: Dict[str, Any], changes: Dict[str, Any]) -> Any:
    """Flip, rotate, zoom and shift images.

    Pixel p of the result is taken at c + Z R F (p - c - shift), with c the centre of the image.
    """
    height, width = int(images.shape[1]), int(images.shape[2])
    flip = changes.get("flip", "")
    ones = tf.ones_like(drawn["zoom"])
    flip_x = flip_y = ones
    if flip in ("horizontal", "both"):
        flip_x = tf.where(drawn["flip_x"] < 0.5, -ones, ones)
    if flip in ("vertical", "both"):
        flip_y = tf.where(drawn["flip_y"] < 0.5, -ones, ones)
    angle = _either_way(drawn["rotate"]) * (changes.get("rotate", 0.0) * math.pi / 180)
    zoom = 1 + _either_way(drawn["zoom"]) * changes.get("zoom", 0.0)
    shift_y = _either_way(drawn["shift_y"]) * (changes.get("shift", 0.0) * height)
    shift_x = _either_way(drawn["shift_x"]) * (changes.get("shift", 0.0) * width)

    cosine, sine = tf.cos(angle) * zoom, tf.sin(angle) * zoom
    xx, xy, yx, yy = flip_x * cosine, -flip_x * sine, flip_y * sine, flip_y * cosine
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = centre_x + shift_x, centre_y + shift_y
    start_x, start_y = centre_x - xx * from_x - xy * from_y, centre_y - yx * from_x - yy * from_y
    zero = tf.zeros_like(ones)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, start_x, yx, yy, start_y, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _recoloured(images: Any, drawn: Dict[str, Any], changes: Dict[str, Any]) -> Any:
    if "contrast" in changes:
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        images = mean + (images - mean) * _per_image(
            1 + _either_way(drawn["contrast"]) * changes["contrast"]
        )
    if "brightness" in changes:
        images += _per_image(_either_way(drawn["brightness"]) * changes["brightness"])
    return tf.clip_by_value(images, 0.0, 1.0)


def _cut_out(images: Any, drawn: Dict[str, Any], share: float) -> Any:
    """Make one square of each image grey; it lies completely within the image."""
    height, width = int(images.shape[1]), int(images.shape[2])
    side = max(1, round(share * min(height, width)))

    def covered(pixels: int, number: Any) -> Any:
        first = tf.floor(number * (pixels - side + 1))[:, tf.newaxis]
        places = tf.range(pixels, dtype=tf.float32)[tf.newaxis]
        return (places >= first) & (places < first + side)

    rows, columns = covered(height, drawn["cutout_y"]), covered(width, drawn["cutout_x"])
    square = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    return tf.where(square, tf.constant(_GREY, images.dtype), images)


def _either_way(number: Any) -> Any:
    """Numbers of [0, 1) spread over [-1, 1)."""
    return 2 * number - 1


def _per_image(number: Any) -> Any:
    return number[:, tf.newaxis, tf.newaxis, tf.newaxis]
