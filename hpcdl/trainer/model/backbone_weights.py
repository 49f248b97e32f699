"""A backbone with its weights: staged ones of ImageNet, or those of a file of the user's."""

from __future__ import annotations

import os
from typing import Any, List, Tuple

import numpy as np

from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import BackboneSpec, SpecError
from hpcdl.contract.staged_names import MODELS, WEIGHTS, on_the_internet, stage_command
from hpcdl.trainer import compat

Shape = Tuple[int, ...]


def network_with_weights(spec: BackboneSpec, builder: Any, image_shape: Shape) -> Any:
    """Build a network without its classes, with the weights that `spec` names.

    Args:
        spec: the model's section of the run.
        builder: the network's function in keras.applications.
        image_shape: (height, width, 3).

    Raises:
        SpecError: the network cannot take images of this shape.
        DataError: the weights are not there, cannot be read, or belong to another network.
    """
    staged_files: List[str] = []

    def find(file: str) -> str:
        staged_files.append(_staged(spec.backbone, file))
        return staged_files[0]

    weights = "imagenet" if spec.weights == "imagenet" else None
    try:
        with compat.weights_from(builder, find):
            network = builder(include_top=False, weights=weights, input_shape=image_shape)
    except (ValueError, OSError, KeyError) as error:
        if staged_files:
            raise _unfit(staged_files[0], spec.backbone, error) from error
        height, width, _ = image_shape
        message = "model.backbone {} cannot take images of {}x{}: {}; see data.image_size"
        raise SpecError(message.format(spec.backbone, height, width, first_line(error))) from error
    if spec.weights not in ("imagenet", "none"):
        _load(network, spec.backbone, spec.weights)
    if not all(np.isfinite(array).all() for array in network.get_weights()):
        message = "{}: holds weights that are NaN or infinite; the file is damaged"
        raise DataError(message.format(spec.weights))
    return network


def _staged(name: str, file: str) -> str:
    """The path of a file of weights that Keras asks for: below data_root, or in Keras's folder.

    Raises:
        DataError: it is in neither.
    """
    root = os.environ.get("HPCDL_DATA_ROOT")
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    paths = [os.path.join(folder, MODELS, file) for folder in (root, home) if folder]
    for path in paths:
        if os.path.exists(path):
            return path
    raise DataError(
        "the ImageNet weights of {} are not staged: there is no {}".format(name, paths[0]),
        on_the_internet(stage_command(WEIGHTS + file, root or "DIR")),
    )


def _load(network: Any, name: str, path: str) -> None:
    """Load weights from an HDF5 file, after comparing the shapes in it with the network's.

    Raises:
        DataError: the file is missing, cannot be read, or belongs to another network.
    """
    if not os.path.exists(path):
        raise DataError(
            "model.weights: there is no {}".format(path),
            "a container sees only data_root and bound folders",
        )
    try:
        stored = compat.weights_in(path)
    except (OSError, KeyError, ValueError) as error:
        message = (
            "{}: cannot be read as HDF5 ({}; {:,} bytes); "
            "expected weights as Keras's save_weights writes them"
        )
        raise DataError(
            message.format(path, first_line(error), os.path.getsize(path)),
            "it may be cut short or be another kind of file: copy it again",
        ) from error
    _compare(stored, network, name, path)
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise _unfit(path, name, error) from error


def _compare(stored: List[Tuple[str, Shape]], network: Any, name: str, path: str) -> None:
    """Raise a `DataError` unless a file's weights have the shapes of the network's.

    Args:
        stored: the names and shapes of the weights in the file.
        name: the network's.
        path: the file's.
    """
    stored_shapes = [shape for _, shape in stored]
    expected_shapes = [tuple(weight.shape) for weight in network.weights]
    extra = _difference(stored_shapes, expected_shapes)
    missing = _difference(expected_shapes, stored_shapes)
    if not extra and not missing:
        return
    top = ""
    if extra and not missing:
        top = "; it has the classes as well: save it with include_top=False"
    message = (
        "{}: holds {:,} parameters in {} arrays; {} without its classes has {:,} in {}{}{}".format(
            path,
            _parameters(stored_shapes),
            len(stored_shapes),
            name,
            _parameters(expected_shapes),
            len(expected_shapes),
            _example(stored, extra),
            top,
        )
    )
    raise DataError(message, "expected the weights of {} with include_top=False".format(name))


def _parameters(shapes: List[Shape]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def _difference(shapes: List[Shape], others: List[Shape]) -> List[Shape]:
    """The shapes that are not among the others; one that is there twice too often comes twice."""
    left = list(others)
    extra = []
    for shape in shapes:
        if shape in left:
            left.remove(shape)
        else:
            extra.append(shape)
    return extra


def _example(stored: List[Tuple[str, Shape]], extra: List[Shape]) -> str:
    """The last array that the network does not have: classes come last."""
    for name, shape in reversed(stored):
        if shape in extra:
            return ", such as {} {}".format(name, shape)
    return ""


def _unfit(path: str, name: str, error: Exception) -> DataError:
    message = "{}: is not a file of {}'s weights without its classes: {}"
    return DataError(
        message.format(path, name, first_line(error)),
        "it may be damaged or another network's: stage or copy it again",
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text; the error's type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
