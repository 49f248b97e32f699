"""Resizes images as the training does, in numpy.

The training uses ``tf.image.resize(antialias=True)``. Pillow's resize rounds between its two
passes: a sixth of the pixels are one grey level off, and some answers change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DENSE = 1024  # lines up to which one product of whole matrices is quicker


def resized(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """An image of another size, not rounded.

    Source: TensorFlow's core/kernels/image/scale_and_translate_op.cc, with the triangle kernel.

    Args:
        pixels: uint8 (old height, old width, channels).
        height: of the result.
        width: of the result.

    Returns:
        float32 (height, width, channels).
    """
    tall = _along_rows(pixels, height)
    return _along_rows(tall.swapaxes(0, 1), width).swapaxes(0, 1)


def _along_rows(values: NDArray[Any], new: int) -> NDArray[Any]:
    """The values with another number of rows: each is a weighted mean of old ones."""
    old = len(values)
    if old == new:
        return values.astype(np.float32)
    if old <= _DENSE:
        weights = np.stack([_weights(place, old, new, 0, old) for place in range(new)])
        flat = values.reshape(old, -1).astype(np.float32)
        return (weights @ flat).reshape(new, *values.shape[1:])
    result = np.empty((new, *values.shape[1:]), np.float32)
    for place in range(new):
        reach = max(old / new, 1.0)
        middle = (place + 0.5) * old / new
        first, last = max(0, int(middle - reach)), min(old, int(middle + reach) + 1)
        weights = _weights(place, old, new, first, last)
        result[place] = np.tensordot(weights, values[first:last].astype(np.float32), 1)
    return result


def _weights(place: int, old: int, new: int, first: int, last: int) -> NDArray[Any]:
    """How much each old row from first to last - 1 counts for a new row, float32.

    It falls in a straight line from the new row's middle to that of its neighbours.
    """
    scale = old / new
    middle = (place + 0.5) * scale
    distances = np.abs(np.arange(first, last) + 0.5 - middle) / max(scale, 1.0)
    weights = np.maximum(0, 1 - distances)
    shares: NDArray[Any] = weights / weights.sum()
    return shares.astype(np.float32)
