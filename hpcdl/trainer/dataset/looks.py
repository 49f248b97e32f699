"""What images look like, in five numbers each: by them a change of light, noise or focus shows.

The trainer notes them of the test images, and each prediction of its own images, so that the two
can be compared (``hpcdl/report/drift.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKS = ("brightness", "contrast", "sharpness", "black", "white")
_BLACK, _WHITE = 0.02, 0.98  # of grey values in [0, 1]
_DIGITS = 4  # float32 and float64 give the same numbers, so that equal images stay equal


def looks(images: NDArray[Any]) -> NDArray[Any]:
    """The five numbers of each image, in the order of `LOOKS`.

    brightness and contrast are the mean and the standard deviation of its grey values, sharpness
    is the mean difference of neighbours, black and white are the shares of pixels at the ends.

    Args:
        images: (rows, height, width, channels), uint8 in [0, 255] or floats in [0, 1].

    Returns:
        float32 (rows, 5).
    """
    grey = images.mean(axis=-1, dtype=np.float32)
    if images.dtype == np.uint8:
        grey /= np.float32(255)
    values = np.empty((len(LOOKS), len(grey)), np.float64)
    values[0] = grey.mean(axis=(1, 2))
    values[1] = grey.std(axis=(1, 2))
    values[2] = _steps(grey, 1) + _steps(grey, 2)
    values[3] = (grey < _BLACK).mean(axis=(1, 2))
    values[4] = (grey > _WHITE).mean(axis=(1, 2))
    return values.T.round(_DIGITS).astype(np.float32)


def _steps(grey: NDArray[Any], axis: int) -> Any:
    """The mean difference of neighbours along an axis, of each image; 0 of a single line."""
    if grey.shape[axis] < 2:
        return 0.0
    return np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2))
