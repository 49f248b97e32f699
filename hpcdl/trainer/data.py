"""The data set as the trainer uses it: checked images and class numbers of the train and the test part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import numpy as np

from hpcdl.trainer.errors import DataError
from hpcdl.trainer.readers import NAMES, read_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_PER_CLASS = 2  # fewer training rows than this teach nothing about a class
_SPLIT_STREAM = 0x5E1EC7  # keeps the split's random numbers apart from those of the epochs


@dataclass
class Part:
    """One part of a data set.

    images: (rows, height, width, channels), uint8 or float32; times `scale` they lie in [0, 1].
    labels: (rows,), int32 class numbers from 0.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    scale: float

    @property
    def rows(self) -> int:
        """The number of images."""
        return len(self.labels)

    def release_images(self) -> None:
        """Let go of the images once TensorFlow has its own copy: memory limits the size of data sets."""
        self.images = self.images[:0].copy()


@dataclass
class Dataset:
    """A checked data set; image_shape is (height, width, channels)."""

    path: str
    train: Part
    test: Part
    image_shape: Tuple[int, ...]
    classes: int


def load(path: str) -> Dataset:
    """Read and check a data set.

    Args:
        path: an ``.npz`` file with x_train, y_train, x_test and y_test, or a folder of MNIST's IDX files.

    Raises:
        DataError: listing every problem found, with the array's name, what is there and what was expected.
    """
    arrays, problems = read_arrays(path)
    images: Dict[str, NDArray[Any]] = {}
    labels: Dict[str, NDArray[Any]] = {}
    for name in [name for name in NAMES if name in arrays]:
        array = arrays.pop(name)  # let go of the raw array as soon as it is converted
        checked = _images(name, array, problems) if name.startswith("x") else _labels(name, array, problems)
        if checked is not None:
            (images if name.startswith("x") else labels)[name[2:]] = checked
    _check_counts(images, labels, problems)
    scales = _check_pair(images, problems)
    classes = _check_classes(labels, problems)
    if problems:
        raise DataError("{} cannot be trained on:\n  {}".format(path, "\n  ".join(problems)))
    parts = [Part(images[part], labels[part], scales[part]) for part in ("train", "test")]
    return Dataset(path, parts[0], parts[1], images["train"].shape[1:], classes)


def describe(dataset: Dataset) -> str:
    """The data set in one line for people."""
    height, width, channels = dataset.image_shape
    return "data: {}: {:,} training and {:,} test images of {}x{}x{} ({}), {} classes".format(
        dataset.path,
        dataset.train.rows,
        dataset.test.rows,
        height,
        width,
        channels,
        dataset.train.images.dtype,
        dataset.classes,
    )


def _images(name: str, array: NDArray[Any], problems: List[str]) -> Optional[NDArray[Any]]:
    shape = array.shape
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or not 1 <= array.shape[3] <= 4 or 0 in array.shape:
        problems.append(
            "{}: has shape {}; expected (rows, height, width), or that with 1 to 4 channels as well".format(name, shape)
        )
        return None
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf":
        problems.append("{}: has dtype {}; expected uint8, or numbers from 0 to 255".format(name, array.dtype))
        return None
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = array.size - int(np.count_nonzero(np.isfinite(array)))
        problems.append("{}: holds {} values that are NaN or infinite; expected numbers".format(name, count))
        return None
    if low < 0 or high > 255:
        problems.append(
            "{}: values go from {} to {} ({}); expected [0, 1] or [0, 255]".format(name, low, high, array.dtype)
        )
        return None
    return array.astype(np.float32 if array.dtype.kind == "f" else np.uint8)


def _labels(name: str, array: NDArray[Any], problems: List[str]) -> Optional[NDArray[Any]]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or 0 in array.shape:
        problems.append(
            "{}: has shape {}; expected (rows,), (rows, 1) or one-hot (rows, classes)".format(name, array.shape)
        )
        return None
    if array.dtype.kind not in "iufb":
        problems.append("{}: has dtype {}; expected whole numbers from 0".format(name, array.dtype))
        return None
    if array.ndim == 2:
        if not (np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()):
            problems.append(
                "{}: has shape {} but is not one-hot; expected a single 1 in each row".format(name, array.shape)
            )
            return None
        array = array.argmax(axis=1)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        problems.append("{}: holds fractions, NaN or infinity; expected whole numbers from 0".format(name))
        return None
    if low < 0 or high > np.iinfo(np.int32).max:
        problems.append("{}: values go from {} to {}; expected class numbers from 0".format(name, low, high))
        return None
    return array.astype(np.int32)


def _check_counts(images: Dict[str, NDArray[Any]], labels: Dict[str, NDArray[Any]], problems: List[str]) -> None:
    for part in sorted(set(images) & set(labels), reverse=True):
        if len(images[part]) != len(labels[part]):
            problems.append(
                "x_{0}: has {1} images but y_{0} has {2} labels; expected as many".format(
                    part, len(images[part]), len(labels[part])
                )
            )


def _check_pair(images: Dict[str, NDArray[Any]], problems: List[str]) -> Dict[str, float]:
    """The factor that brings each part's images to [0, 1], after comparing the two parts."""
    scales = {}
    for part, array in images.items():
        scales[part] = 1.0 if array.dtype == np.float32 and array.max() <= 1 else 1 / 255
    if len(images) == 2:
        train, test = images["train"], images["test"]
        if train.shape[1:] != test.shape[1:]:
            problems.append(
                "x_test: images of shape {}; expected {} as in x_train".format(test.shape[1:], train.shape[1:])
            )
        if train.dtype == test.dtype and scales["train"] != scales["test"]:
            problems.append(
                "x_test: values go up to {}, those of x_train up to {}; expected one range for both, "
                "[0, 1] or [0, 255]".format(test.max(), train.max())
            )
    return scales


def _check_classes(labels: Dict[str, NDArray[Any]], problems: List[str]) -> int:
    """The number of classes, after checking that the training rows show each of them."""
    if "train" not in labels:
        return 0
    train = labels["train"]
    classes = int(train.max()) + 1
    if classes < 2:
        problems.append("y_train: holds class 0 alone; expected at least 2 classes")
    elif classes * ROWS_PER_CLASS > len(train):
        problems.append(
            "y_train: {} rows for classes 0 to {}; expected at least {} rows of each class".format(
                len(train), classes - 1, ROWS_PER_CLASS
            )
        )
    else:
        counts = np.bincount(train, minlength=classes)
        few = ["class {} has {}".format(label, counts[label]) for label in np.flatnonzero(counts < ROWS_PER_CLASS)]
        if few:
            shown = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
            problems.append("y_train: {}; expected at least {} rows of each class".format(shown, ROWS_PER_CLASS))
    if "test" in labels and labels["test"].max() >= classes > 1:
        problems.append(
            "y_test: holds class {}; expected classes 0 to {} as in y_train".format(labels["test"].max(), classes - 1)
        )
    return classes


def split_rows(rows: int, share: float, seed: int) -> Tuple[NDArray[Any], NDArray[Any]]:
    """Choose the validation rows: the last `share` of a random permutation that depends on the seed alone.

    Returns:
        the row numbers to train on and those to validate on, int32.

    Raises:
        DataError: when one of them would be empty.
    """
    kept = rows - round(rows * share)
    if share == 0:
        return np.arange(rows, dtype=np.int32), np.empty(0, np.int32)
    if not 0 < kept < rows:
        raise DataError(
            "data.validation_split {} of {} training rows leaves {} to train on and {} to validate on; "
            "expected rows in both".format(share, rows, kept, rows - kept)
        )
    order = np.random.default_rng([seed, _SPLIT_STREAM]).permutation(rows).astype(np.int32)
    return order[:kept], order[kept:]


def epoch_order(rows: NDArray[Any], seed: int, epoch: int) -> NDArray[Any]:
    """The training rows in the order of one epoch (from 0): a function of the seed and the epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(rows)
