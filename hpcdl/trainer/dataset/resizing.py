"""Resizes images bit for bit as the training does, in numpy.

The training uses ``tf.image.resize(antialias=True)``. Pillow's resize rounds between its two
passes: a sixth of the pixels are one grey level off, and some answers change.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_F = np.float32  # each step is rounded to it, as in TensorFlow


def resized(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """An image of another size, not rounded.

    Source: TensorFlow's core/kernels/image/scale_and_translate_op.cc, with the triangle kernel:
    first all rows, then all columns; each sum adds its old pixels in order.

    Args:
        pixels: uint8 (old height, old width, channels).
        height: of the result.
        width: of the result.

    Returns:
        float32 (height, width, channels).
    """
    tall = _along_rows(pixels, height)
    columns = np.ascontiguousarray(tall.swapaxes(0, 1))
    return _along_rows(columns, width).swapaxes(0, 1)


def _along_rows(values: NDArray[Any], new: int) -> NDArray[Any]:
    """The values with another number of rows: each is a weighted mean of a few old ones."""
    sources, weights = _taps(len(values), new)
    flat = values.reshape(len(values), -1).astype(_F)
    total = np.zeros((new, flat.shape[1]), _F)
    part = np.empty_like(total)
    for rows, its_weights in zip(sources, weights):
        np.take(flat, rows, axis=0, out=part, mode="clip")  # "raise" would copy once more
        part *= its_weights[:, None]
        total += part
    return total.reshape(new, *values.shape[1:])


@lru_cache(maxsize=64)
def _taps(old: int, new: int) -> Tuple[NDArray[Any], NDArray[Any]]:
    """Which old rows count for each new row, and how much.

    The weight falls in a straight line from the new row's middle to that of its neighbours.

    Returns:
        row numbers and float32 weights, (number of old rows that count, new).
    """
    step = _F(1.0 / float(_F(new) / _F(old)))
    reach = max(step, _F(1))
    most = min(2 * math.ceil(reach) + 1, old)
    sources = np.zeros((most, new), np.int64)
    weights = np.zeros((most, new), _F)
    for row in range(new):
        middle = _F(row + 0.5) * step
        first = _inside(math.ceil(middle - reach - _F(0.5)), old)
        last = _inside(math.floor(middle + reach - _F(0.5)), old)
        total = _F(0)
        for place, source in enumerate(range(first, last + 1)):
            distance = abs((_F(source) + _F(0.5) - middle) * (_F(1) / reach))
            weight = max(_F(1) - distance, _F(0))
            total += weight
            sources[place, row], weights[place, row] = source, weight
        weights[:, row] *= _F(1) / total
    counts = weights.any(axis=1)
    return sources[counts], weights[counts]


def _inside(row: int, rows: int) -> int:
    return min(max(row, 0), rows - 1)
