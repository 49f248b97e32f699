"""Where occlusion hides squares, and heat as bytes. In numpy: predictions need no TensorFlow."""

from __future__ import annotations

from typing import Any, List, Tuple

import numpy as np

SIDE = 0.2  # of the square, as a share of the image's shorter side
_HIDDEN_SHARE = 0.1  # of the pixels
_TOP_PERCENT = 99  # hotter pixels than this percentile are as hot as it: one of them hides no other

# Of a square: the first row, the row after its last one, and the same of its columns
Square = Tuple[int, int, int, int]


def squares(height: int, width: int, share: float = SIDE) -> List[Square]:
    """The positions of the square: half its side apart, from half outside to half outside.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        share: the square's side, where the image's shorter side is 1.
    """
    side = max(2, round(share * min(height, width)))
    step = side // 2
    places = []
    for top in range(-step, height, step):
        for left in range(-step, width, step):
            bottom, right = min(height, top + side), min(width, left + side)
            if bottom > 0 and right > 0:
                places.append((max(0, top), bottom, max(0, left), right))
    return places


def shades(heat: Any) -> Any:
    """Heat as uint8: 0 is none, 255 the hottest of each image.

    Args:
        heat: float32 (rows, height, width).
    """
    heat = np.maximum(heat, 0)
    hottest = np.percentile(heat, _TOP_PERCENT, axis=(1, 2), keepdims=True)
    # A map with heat in less than a hundredth of its pixels
    hottest = np.where(hottest > 0, hottest, heat.max(axis=(1, 2), keepdims=True))
    shares = heat / np.where(hottest > 0, hottest, 1)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def hottest_tenth(heat: Any) -> Any:
    """Which pixels are the hottest tenth of each image, bool (rows, height, width).

    Args:
        heat: float32 (rows, height, width).
    """
    flat = heat.reshape(len(heat), -1)
    count = max(1, round(_HIDDEN_SHARE * flat.shape[1]))
    places = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    hidden = np.zeros(flat.shape, bool)
    np.put_along_axis(hidden, places, True, axis=1)
    return hidden.reshape(heat.shape)
