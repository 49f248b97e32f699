"""The copies of a variable that each replica has of its own, for another number of replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def typed(array: NDArray[Any], variable: Any) -> NDArray[Any]:
    """An array of a file with its variable's type: numpy stores bfloat16 and such as bare bytes."""
    return array.view(variable.dtype.as_numpy_dtype) if array.dtype.kind == "V" else array


def shared_out(copies: List[NDArray[Any]], replicas: int, of_model: bool) -> List[NDArray[Any]]:
    """The copies of an own variable for another number of replicas.

    Args:
        copies: of each replica that there was.
        replicas: how many there are now.
        of_model: whether it is the model's, as a moving average, or a metric's sum.
    """
    first = copies[0]
    if not of_model:  # metrics are added up over the replicas when they are read
        total = np.sum(copies, axis=0, dtype=None if first.dtype.kind in "iub" else np.float64)
        return [total.astype(first.dtype)] + [np.zeros_like(first)] * (replicas - 1)
    if first.dtype.kind in "iub":  # the state of a random layer, which each step sets anew
        return [first] * replicas
    mean = np.mean(copies, axis=0, dtype=np.float64).astype(first.dtype)
    return [mean] * replicas
