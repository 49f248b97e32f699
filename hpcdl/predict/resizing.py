"""Resizes images as the training does, in numpy.

The training uses ``tf.image.resize(antialias=True)``. Pillow's resize rounds between its two
passes: a sixth of the pixels are one grey level off, and some answers change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    """The values with another number of rows: each is a weighted mean of a few old ones."""
    if len(values) == new:
        return values.astype(np.float32)
    sources, weights = _taps(len(values), new)
    result = np.zeros((new, *values.shape[1:]), np.float32)
    for rows, its_weights in zip(sources, weights, strict=True):
        result += its_weights[:, None, None] * values[rows]
    return result


@lru_cache(maxsize=64)
def _taps(old: int, new: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which old rows count for each new row, and how much.

    The weight falls in a straight line from the new row's middle to that of its neighbours.

    Returns:
        row numbers and float32 weights, (number of old rows that count, new).
    """
    scale = old / new
    reach = max(scale, 1.0)
    middles = (np.arange(new) + 0.5) * scale
    first = np.floor(middles - reach - 0.5).astype(int)
    sources = first + np.arange(int(2 * reach) + 3)[:, None]
    weights = np.maximum(0, 1 - np.abs(sources + 0.5 - middles) / reach)
    weights[(sources < 0) | (sources >= old)] = 0
    shares = weights / weights.sum(axis=0)
    return sources.clip(0, old - 1), shares.astype(np.float32)
