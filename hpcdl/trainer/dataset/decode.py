"""Decodes JPEG and PNG files in a graph: upright, of one size, with the channels that are asked for."""

from __future__ import annotations

from typing import Any, Tuple


def decode(content: Any, orientation: Any, shape: Tuple[int, ...], resizes: bool = True) -> Any:
    """In a graph: one file's content as a uint8 image of `shape`, upright and resized.

    Args:
        content: a JPEG's or PNG's bytes, a scalar string tensor.
        orientation: EXIF's, a scalar tensor; None where all images are upright.
        resizes: whether some of the images have another size.
    """
    import tensorflow as tf

    image = _pixels(content, shape[2])
    if orientation is not None:
        image = tf.switch_case(
            tf.cast(orientation, tf.int32) - 1, [_turned(image, number) for number in range(1, 9)]
        )
        image.set_shape([None, None, shape[2]])

    if not resizes:
        return tf.ensure_shape(image, shape)

    def resized() -> Any:
        return tf.cast(tf.round(tf.image.resize(image, shape[:2], antialias=True)), tf.uint8)

    same = tf.reduce_all(tf.shape(image)[:2] == shape[:2])
    return tf.ensure_shape(tf.cond(same, lambda: image, resized), shape)


def _pixels(content: Any, channels: int) -> Any:
    """The uint8 pixels of a JPEG or PNG. libjpeg makes no grey of four inks: they become RGB first."""
    import tensorflow as tf

    def decoded(wanted: int) -> Any:  # reads PNG as well
        return tf.io.decode_jpeg(content, channels=wanted, dct_method="INTEGER_ACCURATE")

    if channels != 1:
        return decoded(channels)

    def has_four_inks() -> Any:
        return tf.equal(tf.io.extract_jpeg_shape(content)[2], 4)

    is_jpeg = tf.equal(tf.strings.substr(content, 0, 3), b"\xff\xd8\xff")
    four_inks = tf.cond(is_jpeg, has_four_inks, lambda: tf.constant(False))
    image = tf.cond(four_inks, lambda: tf.image.rgb_to_grayscale(decoded(3)), lambda: decoded(1))
    image.set_shape([None, None, 1])
    return image


def _turned(image: Any, orientation: int) -> Any:
    """What shows an image upright: orientations 5 to 8 are transposed, then some are mirrored."""
    import tensorflow as tf

    def upright() -> Any:
        turned = tf.transpose(image, [1, 0, 2]) if orientation > 4 else image
        axes = {2: [1], 3: [0, 1], 4: [0], 6: [1], 7: [0, 1], 8: [0]}.get(orientation, [])
        return tf.reverse(turned, axes) if axes else turned

    return upright
