"""Turns the raw arrays of a data set into images and class numbers that can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional

import numpy as np

from hpcdl.contract import array_rules, ranges
from hpcdl.contract.array_heads import NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CheckedArrays(NamedTuple):
    """The arrays of a set by part (``train``, ``test``), and what people should know.

    images: (rows, height, width, channels), uint8 or float32.
    labels: (rows,), int32 class numbers from 0.
    scales: the factor that brings each part's images to [0, 1].
    classes: the number of classes.
    class_names: by class number; empty if they are numbers alone.
    notes: what people should know.
    """

    images: Dict[str, NDArray[Any]]
    labels: Dict[str, NDArray[Any]]
    scales: Dict[str, float]
    classes: int
    class_names: List[str]
    notes: List[str]


def check_arrays(arrays: Dict[str, NDArray[Any]], problems: List[str]) -> CheckedArrays:
    """Convert the arrays of a set, and check them one by one and together.

    Args:
        arrays: by name; emptied, so that no raw array is held longer than its conversion takes.
        problems: why the set cannot be used, added to.

    Returns:
        the set, which can be used if there are no problems.
    """
    images: Dict[str, NDArray[Any]] = {}
    labels: Dict[str, NDArray[Any]] = {}
    for name in NAMES:
        if name not in arrays:
            continue
        kind, part = name.split("_")
        convert, converted_parts = (_images, images) if kind == "x" else (_labels, labels)
        converted = convert(name, arrays.pop(name), problems)
        if converted is not None:
            converted_parts[part] = converted
    notes, class_names = ranges.count_from_zero(labels)
    _check_counts(images, labels, problems)
    scales = _check_pair(images, problems)
    classes = check_classes(labels, problems)
    return CheckedArrays(images, labels, scales, classes, class_names, notes)


def check_classes(
    labels: Dict[str, NDArray[Any]], problems: List[str], named: Optional[int] = None
) -> int:
    """Check that the rows of each part show all classes.

    Args:
        labels: the class numbers of each part.
        problems: what is wrong, added to.
        named: the number of classes if they have names.

    Returns:
        the number of classes; 0 if there are no training labels.
    """
    if "train" not in labels:
        return 0
    train = _label_facts(labels["train"], len(labels["train"]))
    test = None
    if "test" in labels:
        # A small test part is counted, too: the training rows bound the number of classes
        test = _label_facts(labels["test"], max(len(labels["test"]), train.rows))
    problems += array_rules.class_problems(train, test, named)
    return named or train.highest + 1


def _label_facts(labels: NDArray[Any], most: int) -> array_rules.Labels:
    """The facts of a part's labels; their counts only up to a class number of `most`.

    Above it memory may end, and the number of classes is refused in any case.
    """
    highest = int(labels.max())
    counts = None
    if highest <= most:
        counts = np.bincount(labels).tolist()
    return array_rules.Labels(len(labels), highest, counts)


def _images(name: str, array: NDArray[Any], problems: List[str]) -> Optional[NDArray[Any]]:
    """Images as uint8 or float32 with four dimensions; None if they cannot be used."""
    problem = array_rules.wrong_images(name, array.shape, array.dtype.kind, str(array.dtype))
    if problem:
        problems.append(problem)
        return None
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.dtype == np.uint8:
        return array
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = array.size - int(np.count_nonzero(np.isfinite(array)))
        problems.append(
            "{}: holds {} values that are NaN or infinite; expected numbers".format(name, count)
        )
        return None
    if low < 0 or high > 255:
        problems.append(ranges.out_of_range(name, low, high, str(array.dtype)))
        return None
    return array.astype(np.float32 if array.dtype.kind == "f" else np.uint8)


def _labels(name: str, array: NDArray[Any], problems: List[str]) -> Optional[NDArray[Any]]:
    """Labels as int32 class numbers (rows,); None if they cannot be used."""
    problem = array_rules.wrong_labels(name, array.shape, array.dtype.kind, str(array.dtype))
    if not problem and array.ndim == 2 and array.shape[1] > 1 and not is_one_hot(array):
        problem = array_rules.not_one_hot(name, array.shape)
    if problem:
        problems.append(problem)
        return None
    if array.ndim == 2:
        array = array[:, 0] if array.shape[1] == 1 else array.argmax(axis=1)
    low, high = array.min(), array.max()
    problem = array_rules.wrong_class_numbers(name, low, high, are_whole(array))
    if problem:
        problems.append(problem)
        return None
    return array.astype(np.int32)


def is_one_hot(array: NDArray[Any]) -> bool:
    """Whether each row of an array (rows, classes) holds a single 1, and 0 else."""
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all())


def are_whole(array: NDArray[Any]) -> bool:
    """Whether all numbers of an array are finite and have no fraction."""
    if array.dtype.kind != "f":
        return True
    return bool(np.isfinite(array).all() and (array == np.floor(array)).all())


def _check_counts(
    images: Dict[str, NDArray[Any]], labels: Dict[str, NDArray[Any]], problems: List[str]
) -> None:
    for part in ("train", "test"):
        if part in images and part in labels:
            problem = array_rules.wrong_counts(part, len(images[part]), len(labels[part]))
            problems += [problem] if problem else []


def _check_pair(images: Dict[str, NDArray[Any]], problems: List[str]) -> Dict[str, float]:
    """The factor that brings each part's images to [0, 1], after comparing the two parts."""
    scales = {}
    for part, array in images.items():
        is_scaled = array.dtype == np.float32 and array.max() <= 1
        scales[part] = 1.0 if is_scaled else 1 / 255
    if len(images) < 2:
        return scales
    train, test = images["train"], images["test"]
    problem = array_rules.wrong_test_size(train.shape[1:], test.shape[1:])
    if problem:
        problems.append(problem)
    if train.dtype == test.dtype and scales["train"] != scales["test"]:
        problems.append(
            "x_test: values go up to {}, those of x_train up to {}; expected one range for both, "
            "[0, 1] or [0, 255]".format(test.max(), train.max())
        )
    return scales
