"""Augmentation: random changes of training images in the graph, each a function of numbers drawn for its epoch.

TensorFlow's and Keras's own random functions draw other numbers in other versions; here numpy draws them, for
all rows of an epoch at once, and the images of a step are changed by the numbers of its rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Sequence

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What each image has a number for, in this order whatever is asked for: leaving one out does not change the others
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
    """The random numbers of one epoch (from 0): float32 (rows, kinds) in [0, 1), by place in the epoch's order."""
    return np.random.default_rng([seed, epoch, _STREAM]).random(
        (rows, len(_DRAWN)), dtype=np.float32
    )


def augmented(images: Any, numbers: Any, entries: Sequence[Dict[str, Any]]) -> Any:
    """Change images as ``data.augment`` says, in TensorFlow.

    Whatever the order of the list: flip, rotate, zoom and shift first, all in one resampling (bilinear; what comes
    in from outside is the image reflected at its edge), then contrast, brightness and cutout.

    Args:
        images: float32 (rows, height, width, channels) in [0, 1].
        numbers: float32 (rows, kinds), the rows' part of `draw`.
        entries: as `spec.augment_problems` finds them right.

    Returns:
        images of the same shape and range.
    """
    wanted = {name: value for entry in entries for name, value in entry.items()}
    drawn = dict(zip(_DRAWN, tf.unstack(numbers, axis=1)))
    if set(wanted) & {"flip", "rotate", "zoom", "shift"}:
        images = _resampled(images, drawn, wanted)
    if set(wanted) & {"contrast", "brightness"}:
        images = _recoloured(images, drawn, wanted)
    if "cutout" in wanted:
        images = _cut_out(images, drawn, wanted["cutout"])
    return images


def _resampled(images: Any, drawn: Dict[str, Any], wanted: Dict[str, Any]) -> Any:
    """Each pixel p of the result is taken at c + Z R F (p - c - shift), with c the centre of the image."""
    height, width = (int(size) for size in images.shape[1:3])
    flip = wanted.get("flip", "")
    one = tf.ones_like(drawn["zoom"])
    flip_x = tf.where(drawn["flip_x"] < 0.5, -one, one) if flip in ("horizontal", "both") else one
    flip_y = tf.where(drawn["flip_y"] < 0.5, -one, one) if flip in ("vertical", "both") else one
    angle = _either_way(drawn["rotate"]) * (wanted.get("rotate", 0.0) * math.pi / 180)
    zoom = 1 + _either_way(drawn["zoom"]) * wanted.get("zoom", 0.0)
    shift_y = _either_way(drawn["shift_y"]) * (wanted.get("shift", 0.0) * height)
    shift_x = _either_way(drawn["shift_x"]) * (wanted.get("shift", 0.0) * width)

    cosine, sine = tf.cos(angle) * zoom, tf.sin(angle) * zoom
    xx, xy, yx, yy = flip_x * cosine, -flip_x * sine, flip_y * sine, flip_y * cosine
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = centre_x + shift_x, centre_y + shift_y
    start_x, start_y = centre_x - xx * from_x - xy * from_y, centre_y - yx * from_x - yy * from_y
    zero = tf.zeros_like(one)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, start_x, yx, yy, start_y, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _recoloured(images: Any, drawn: Dict[str, Any], wanted: Dict[str, Any]) -> Any:
    if "contrast" in wanted:
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        images = mean + (images - mean) * _per_image(
            1 + _either_way(drawn["contrast"]) * wanted["contrast"]
        )
    if "brightness" in wanted:
        images += _per_image(_either_way(drawn["brightness"]) * wanted["brightness"])
    return tf.clip_by_value(images, 0.0, 1.0)


def _cut_out(images: Any, drawn: Dict[str, Any], share: float) -> Any:
    """Make one square of each image grey, wholly inside of it."""
    height, width = (int(size) for size in images.shape[1:3])
    side = max(1, round(share * min(height, width)))

    def covered(pixels: int, number: Any) -> Any:
        first = tf.floor(number * (pixels - side + 1))[:, tf.newaxis]
        places = tf.range(pixels, dtype=tf.float32)[tf.newaxis]
        return (places >= first) & (places < first + side)

    rows, columns = covered(height, drawn["cutout_y"]), covered(width, drawn["cutout_x"])
    square = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    return tf.where(square, tf.constant(_GREY, images.dtype), images)


def _either_way(number: Any) -> Any:
    """A number from [0, 1) in [-1, 1)."""
    return 2 * number - 1


def _per_image(number: Any) -> Any:
    return number[:, tf.newaxis, tf.newaxis, tf.newaxis]
