"""Decodes JPEG and PNG files in TensorFlow's graph: upright, of one size, of one colour."""

from __future__ import annotations

from typing import Any, Tuple

# By EXIF's orientation, after transposing
_MIRRORED_AXES = {2: [1], 3: [0, 1], 4: [0], 6: [1], 7: [0, 1], 8: [0]}


def decode(content: Any, orientation: Any, shape: Tuple[int, ...], resizes: bool = True) -> Any:
    """Decode one file, in a graph.

    Args:
        content: a JPEG's or PNG's bytes, a scalar string tensor.
        orientation: EXIF's, a scalar tensor; None if all images are upright.
        shape: (height, width, channels) of the result.
        resizes: whether some of the images have another size.

    Returns:
        a uint8 image of this shape, upright and resized.
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
    """The uint8 pixels of a JPEG or PNG.

    libjpeg makes no grey image of four inks: such images become RGB first.
    """
    import tensorflow as tf

    def decoded(color_channels: int) -> Any:  # reads PNG as well
        return tf.io.decode_jpeg(content, channels=color_channels, dct_method="INTEGER_ACCURATE")

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
    """A function that turns an image upright: 5 to 8 are transposed, then some are mirrored."""
    import tensorflow as tf

    def upright() -> Any:
        turned = image
        if orientation > 4:
            turned = tf.transpose(image, [1, 0, 2])
        axes = _MIRRORED_AXES.get(orientation)
        if axes is None:
            return turned
        return tf.reverse(turned, axes)

    return upright
