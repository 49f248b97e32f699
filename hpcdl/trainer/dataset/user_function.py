"""Gets a data set from the user's own function, which works like Keras's ``load_data``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

import numpy as np

from hpcdl.contract.errors import TrainingError, UserCodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def arrays_of_function(
    function: str, args: Dict[str, Any]
) -> Tuple[Dict[str, NDArray[Any]], List[str]]:
    """Call ``package.module:function`` with keyword arguments.

    Returns:
        its arrays by name, and an empty list of problems, as `arrays.read_arrays` does.

    Raises:
        UserCodeError: it cannot be imported, raised, or returned something else than
            ``(x_train, y_train), (x_test, y_test)``.
    """
    module, _, name = function.partition(":")
    try:
        returned = getattr(importlib.import_module(module), name)(**args)
    except (TrainingError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, ImportError):
            hint = "its module must be next to the job file or in the image"
        raise UserCodeError(
            "data.function {} failed: {}: {}".format(function, type(error).__name__, error), hint
        ) from error
    try:
        (x_train, y_train), (x_test, y_test) = returned
    except (TypeError, ValueError):
        raise UserCodeError(
            "data.function {} returned {}; expected (x_train, y_train), (x_test, y_test)".format(
                function, type(returned).__name__
            )
        )
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {name: np.asarray(array) for name, array in arrays.items()}, []
