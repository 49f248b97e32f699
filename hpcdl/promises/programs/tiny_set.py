"""A set of small pictures that is computed: bright squares in one of four corners."""

from __future__ import annotations

from typing import Any

import numpy as np

_SIDE = 8
_CORNERS = 4


def load(rows: int = 640) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The train part and a test part of a quarter of its size: images and labels.

    Args:
        rows: of the train part.
    """
    generator = np.random.RandomState(17)
    parts = []
    for count in (rows, rows // 4):
        images = generator.randint(0, 120, (count, 2 * _SIDE, 2 * _SIDE)).astype(np.uint8)
        labels = np.arange(count) % _CORNERS
        for place, image in enumerate(images):
            top, left = divmod(int(labels[place]), 2)
            image[top * _SIDE : (top + 1) * _SIDE, left * _SIDE : (left + 1) * _SIDE] += 100
        parts.append((images, labels))
    return parts[0], parts[1]
