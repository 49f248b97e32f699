"""The data set as the trainer uses it: checked images and class numbers of the train and the test part."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import numpy as np

from hpcdl.contract import image_folder as images
from hpcdl.contract import machine, ranges
from hpcdl.contract.errors import DataError
from hpcdl.contract.idx import find_idx
from hpcdl.contract.nested_files import lies_deeper
from hpcdl.contract.record_files import find_records
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset.arrays import NAMES, left_out, read_arrays
from hpcdl.trainer.dataset.image_folder import open_folder
from hpcdl.trainer.dataset.packed import PACK, open_pack
from hpcdl.trainer.dataset.reader import Reader
from hpcdl.trainer.dataset.tfrecords import open_records
from hpcdl.trainer.dataset.user_function import arrays_of_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_PER_CLASS = 2  # fewer training rows than this teach nothing about a class
_SPLIT_STREAM = 0x5E1EC7  # keeps the split's random numbers apart from those of the epochs
_TEST_SEED = 0  # a test part that is split off is the same one for all seeds


@dataclass
class Part:
    """One part of a data set.

    images: (rows, height, width, channels), uint8 or float32; times `scale` they lie in [0, 1]. Empty where
        there is a `reader`, which reads them from files.
    labels: (rows,), int32 class numbers from 0.
    held: whether all images are held in memory; else they are read anew in each epoch.
    shape: (height, width, channels) as the model takes them; by default as they are.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    scale: float
    reader: Optional[Reader] = None
    held: bool = True
    shape: Tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.shape = self.shape or tuple(self.images.shape[1:])

    @property
    def rows(self) -> int:
        """The number of images."""
        return len(self.labels)

    def files(self) -> List[str]:
        """The file of each row's image, relative to where the set came from; none if not known."""
        return [] if self.reader is None else self.reader.files(np.arange(self.rows))

    def release_images(self) -> None:
        """Let go of the images once TensorFlow has its own copy: memory limits the size of data sets."""
        self.images = self.images[:0].copy()


@dataclass
class Dataset:
    """A checked data set; image_shape is (height, width, channels), as the model takes them.

    path: where it came from, or the function that gave it.
    class_names: by class number; empty where they are numbers alone.
    notes: what people should know of how it was read.
    warnings: what is likely to be a fault of the set, each with its remedy.
    """

    path: str
    train: Part
    test: Part
    image_shape: Tuple[int, ...]
    classes: int
    class_names: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)


def load(path: str, data: DataSpec) -> Dataset:
    """Read and check a data set; of images in files, what their heads say.

    Args:
        path: where the set is, as `DataSpec` tells of; not read where it has a function.
        data: how it is read.

    Raises:
        DataError: listing every problem found, with its place, what is there and what was expected.
        UserCodeError: the user's function raised, or returned something else than a set.
    """
    if not data.function:
        parts = _open_files(path, data)
        if parts is not None:
            return _of_files(path, parts, data)
    arrays, problems = (
        arrays_of_function(data.function, data.args) if data.function else read_arrays(path)
    )
    dataset = _of_arrays(data.function or path, arrays, problems, data)
    if not data.function:
        dataset.warnings += left_out(path)
    return dataset


def _open_files(path: str, data: DataSpec) -> Optional[Dict[str, Reader]]:
    """The readers of a set whose images lie in files: ``train`` and, where there is one, ``test``.

    Returns:
        None where the set is something else, or is not there.

    Raises:
        DataError: it is such a set, but cannot be read; all that is wrong.
    """
    if not os.path.isdir(path):
        return None
    try:
        if os.path.exists(os.path.join(path, PACK)):
            return open_pack(path, data)
        records = find_records(path)
        if records is not None:
            return open_records(path, data, records)
        if not os.listdir(path):
            raise DataError(
                "{}: is an empty folder; expected a folder of images for each class, or IDX files".format(
                    path
                )
            )
        if find_idx(path) is not None:
            return None
        listed = images.list_folder(path)
        deeper = lies_deeper(path, listed) if listed is not None else None
    except OSError as error:
        raise DataError("{}: cannot be read: {}".format(path, error))
    if deeper is not None:
        raise DataError("{}: {}".format(path, deeper))
    return None if listed is None else open_folder(path, data, listed)


def _of_files(path: str, parts: Dict[str, Reader], data: DataSpec) -> Dataset:
    """A data set of images in files; without a test part, one is split off."""
    train = parts["train"]
    labels = {part: reader.labels for part, reader in parts.items()}
    notes: List[str] = list(train.notes)
    if "test" not in parts:
        kept, rest = split_rows(train.labels, data.test_split, _TEST_SEED, "data.test_split")
        parts = {"train": train.chosen(kept), "test": train.chosen(rest)}
        labels = {part: reader.labels for part, reader in parts.items()}
        notes.append("{:,} images split off as the test part (data.test_split)".format(len(rest)))
    problems: List[str] = []
    classes = _check_classes(labels, problems, len(train.class_names) or None)
    _raise(path, problems)
    shape = _wanted(train.shape, data, path)
    size = sum(reader.size_bytes for reader in parts.values())
    held = data.cache == "memory" or (data.cache == "auto" and machine.fits(size))
    notes.append(
        "images: {:,.0f} MB decoded, {} ({:.1f} GB of memory for this run)".format(
            size / 1e6,
            "held in memory" if held else "read and decoded anew in each epoch",
            machine.limit_bytes() / 1024**3,
        )
    )
    none = np.empty((0, *train.shape), np.uint8)
    made = {
        part: Part(none, reader.labels, 1 / 255, reader, held, shape)
        for part, reader in parts.items()
    }
    return Dataset(path, made["train"], made["test"], shape, classes, train.class_names, notes)


def _of_arrays(
    path: str, arrays: Dict[str, NDArray[Any]], problems: List[str], data: DataSpec
) -> Dataset:
    images: Dict[str, NDArray[Any]] = {}
    labels: Dict[str, NDArray[Any]] = {}
    for name in [name for name in NAMES if name in arrays]:
        array = arrays.pop(name)  # let go of the raw array as soon as it is converted
        checked = (
            _images(name, array, problems)
            if name.startswith("x")
            else _labels(name, array, problems)
        )
        if checked is not None:
            (images if name.startswith("x") else labels)[name[2:]] = checked
    notes, class_names = ranges.count_from_zero(labels)
    _check_counts(images, labels, problems)
    scales = _check_pair(images, problems)
    classes = _check_classes(labels, problems)
    _raise(path, problems)
    shape = _wanted(images["train"].shape[1:], data, path)
    train, test = (
        Part(images[part], labels[part], scales[part], shape=shape) for part in ("train", "test")
    )
    warnings: List[str] = []
    for part, array in images.items():
        warnings += ranges.doubts("x_" + part, float(array.max()), array.dtype.kind == "f")
    return Dataset(path, train, test, shape, classes, class_names, notes, warnings)


def _wanted(stored: Tuple[int, ...], data: DataSpec, path: str) -> Tuple[int, ...]:
    """The (height, width, channels) that the model takes, of images stored with those of `stored`."""
    height, width, channels = stored
    shape = (*(data.image_size or (height, width)), data.channels(channels))
    if shape[2] != channels and {shape[2], channels} != {1, 3}:
        raise DataError(
            "{}: images have {} channels, which cannot become {}".format(path, channels, data.color)
        )
    return shape


def _raise(path: str, problems: List[str]) -> None:
    if problems:
        raise DataError("{} cannot be trained on:\n  {}".format(path, "\n  ".join(problems)))


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
    ) + "".join(
        "\n" + note for note in [*dataset.notes, *("warning: " + text for text in dataset.warnings)]
    )


def _images(name: str, array: NDArray[Any], problems: List[str]) -> Optional[NDArray[Any]]:
    shape = array.shape
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or not 1 <= array.shape[3] <= 4 or 0 in array.shape:
        problems.append(
            "{}: has shape {}; expected (rows, height, width), or that with 1 to 4 channels as well".format(
                name, shape
            )
        )
        return None
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf":
        problems.append(
            "{}: has dtype {}; expected uint8, or numbers from 0 to 255".format(name, array.dtype)
        )
        return None
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
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or 0 in array.shape:
        problems.append(
            "{}: has shape {}; expected (rows,), (rows, 1) or one-hot (rows, classes)".format(
                name, array.shape
            )
        )
        return None
    if array.dtype.kind not in "iufb":
        problems.append("{}: has dtype {}; expected whole numbers from 0".format(name, array.dtype))
        return None
    if array.ndim == 2:
        if not (np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()):
            problems.append(
                "{}: has shape {} but is not one-hot; expected a single 1 in each row".format(
                    name, array.shape
                )
            )
            return None
        array = array.argmax(axis=1)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not (
        np.isfinite(array).all() and (array == np.floor(array)).all()
    ):
        problems.append(
            "{}: holds fractions, NaN or infinity; expected whole numbers from 0".format(name)
        )
        return None
    if low < 0 or high > np.iinfo(np.int32).max:
        problems.append(
            "{}: values go from {} to {}; expected class numbers from 0".format(name, low, high)
        )
        return None
    return array.astype(np.int32)


def _check_counts(
    images: Dict[str, NDArray[Any]], labels: Dict[str, NDArray[Any]], problems: List[str]
) -> None:
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
                "x_test: images of shape {}; expected {} as in x_train".format(
                    test.shape[1:], train.shape[1:]
                )
            )
        if train.dtype == test.dtype and scales["train"] != scales["test"]:
            problems.append(
                "x_test: values go up to {}, those of x_train up to {}; expected one range for both, "
                "[0, 1] or [0, 255]".format(test.max(), train.max())
            )
    return scales


def _check_classes(
    labels: Dict[str, NDArray[Any]], problems: List[str], known: Optional[int] = None
) -> int:
    """The number of classes (`known` where they have names), after checking that the rows of each part show them."""
    if "train" not in labels:
        return 0
    train, before = labels["train"], len(problems)
    classes = known or int(train.max()) + 1
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
        few = [
            "class {} has {}".format(label, counts[label])
            for label in np.flatnonzero(counts < ROWS_PER_CLASS)
        ]
        if few:
            shown = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
            problems.append(
                "y_train: {}; expected at least {} rows of each class".format(shown, ROWS_PER_CLASS)
            )
    if "test" in labels and labels["test"].max() >= classes > 1:
        problems.append(
            "y_test: holds class {}; expected classes 0 to {} as in y_train".format(
                labels["test"].max(), classes - 1
            )
        )
    elif "test" in labels and len(problems) == before:
        missing = np.flatnonzero(np.bincount(labels["test"], minlength=classes) == 0)
        if len(missing):
            problems.append(
                "y_test: has no row of class {}; expected some of each of the {} classes".format(
                    _few(missing), classes
                )
            )
    return classes


def _few(values: Any) -> str:
    """The first few of many values."""
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def split_rows(
    labels: NDArray[Any], share: float, seed: int, key: str = "data.validation_split"
) -> Tuple[NDArray[Any], NDArray[Any]]:
    """Split off a share of each class's rows, chosen by the seed alone.

    Args:
        labels: class numbers, int32 (rows,).
        share: of the rows; each class gives its own, rounded.
        key: the setting, for messages.

    Returns:
        the row numbers that stay and those split off, int32, in ascending order.

    Raises:
        DataError: when a class would have no row on one side.
    """
    if share == 0:
        return np.arange(len(labels), dtype=np.int32), np.empty(0, np.int32)
    random = np.random.default_rng([seed, _SPLIT_STREAM])
    off = np.zeros(len(labels), bool)
    problems = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = round(len(rows) * share)
        if not 0 < count < len(rows):
            problems.append("class {}: {} of its {} rows".format(label, count, len(rows)))
        off[random.permutation(rows)[:count]] = True
    if problems:
        raise DataError(
            "{} {} would split off\n  {}{}\nexpected at least one row of each class on both sides".format(
                key, share, "\n  ".join(problems[:5]), "\n  ..." if len(problems) > 5 else ""
            )
        )
    return np.flatnonzero(~off).astype(np.int32), np.flatnonzero(off).astype(np.int32)


def epoch_order(rows: NDArray[Any], seed: int, epoch: int) -> NDArray[Any]:
    """The training rows in the order of one epoch (from 0): a function of the seed and the epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(rows)
