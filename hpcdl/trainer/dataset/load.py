"""Opens a data set for the trainer: checked images and class numbers of its two parts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import numpy as np

from hpcdl.contract import image_folder as images
from hpcdl.contract import machine, pack_layout, ranges
from hpcdl.contract.array_rules import split_off
from hpcdl.contract.errors import DataError
from hpcdl.contract.idx import find_idx
from hpcdl.contract.nested_files import lies_deeper
from hpcdl.contract.record_files import find_records
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset.arrays import left_out, read_arrays
from hpcdl.trainer.dataset.checked_arrays import check_arrays, check_classes
from hpcdl.trainer.dataset.image_folder import open_folder
from hpcdl.trainer.dataset.packed import open_pack
from hpcdl.trainer.dataset.reader import Reader
from hpcdl.trainer.dataset.tfrecords import open_records
from hpcdl.trainer.dataset.user_function import arrays_of_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPLIT_STREAM = 0x5E1EC7  # keeps the split's random numbers apart from those of the epochs
_TEST_SEED = 0  # a test part that is split off is the same one for all seeds
_SHOWN = 5  # classes named in a message


@dataclass
class Part:
    """One part of a data set.

    images: (rows, height, width, channels), uint8 or float32; times `scale` they lie in [0, 1].
        Empty if there is a `reader`, which reads them from files.
    labels: (rows,), int32 class numbers from 0.
    held: whether all images are held in memory; else each epoch reads them again.
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
        """The file of each row's image, relative to the set's source; empty if not known."""
        return [] if self.reader is None else self.reader.files(np.arange(self.rows))

    def release_images(self) -> None:
        """Free the images once TensorFlow has its own copy: memory limits the size of data sets."""
        self.images = self.images[:0].copy()


@dataclass
class Dataset:
    """A checked data set.

    path: where it came from, or the function that returned it.
    image_shape: (height, width, channels), as the model takes the images.
    class_names: by class number; empty if they are numbers alone.
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
    """Read and check a data set; of images in files, their heads only.

    Args:
        path: where the set is, as `DataSpec` tells; not used if it has a function.
        data: how it is read.

    Raises:
        DataError: naming every problem, with its place, what was found and what was expected.
        UserCodeError: the user's function raised, or returned something else than a set.
    """
    if data.function:
        arrays, problems = arrays_of_function(data.function, data.args)
        return _of_arrays(data.function, arrays, problems, data)
    readers = _open_files(path, data)
    if readers is not None:
        return _of_files(path, readers, data)
    arrays, problems = read_arrays(path)
    dataset = _of_arrays(path, arrays, problems, data)
    dataset.warnings += left_out(path)
    return dataset


def starts_tensorflow(path: str, data: DataSpec) -> bool:
    """Whether `load` uses TensorFlow: for the labels of TFRecords, perhaps in a function.

    Its first operation starts the devices, which must be chosen before.

    Args:
        path, data: as for `load`.
    """
    if data.function:
        return True
    try:
        if not os.path.isdir(path) or pack_layout.is_pack(path):
            return False
        return find_records(path) is not None
    except OSError:
        return False  # load says what is wrong


def _open_files(path: str, data: DataSpec) -> Optional[Dict[str, Reader]]:
    """The readers of a set whose images lie in files: ``train`` and perhaps ``test``.

    Returns:
        None if the set is something else, or does not exist.

    Raises:
        DataError: it is such a set, but cannot be read; naming all problems.
    """
    if not os.path.isdir(path):
        return None
    try:
        if pack_layout.is_pack(path):
            return open_pack(path, data)
        records = find_records(path)
        if records is not None:
            return open_records(path, data, records)
        if not os.listdir(path):
            raise DataError(
                "{}: is an empty folder; expected a folder of images for each class, "
                "or IDX files".format(path)
            )
        if find_idx(path) is not None:
            return None
        folder = images.list_folder(path)
        if folder is None:
            return None
        deeper = lies_deeper(path, folder)
    except OSError as error:
        raise DataError("{}: cannot be read: {}".format(path, error))
    if deeper is not None:
        raise DataError("{}: {}".format(path, deeper))
    return open_folder(path, data, folder)


def _of_files(path: str, readers: Dict[str, Reader], data: DataSpec) -> Dataset:
    """A data set of images in files; without a test part, one is split off."""
    train = readers["train"]
    notes: List[str] = list(train.notes)
    if "test" not in readers:
        stay, off = split_rows(train.labels, data.test_split, _TEST_SEED, "data.test_split")
        readers = {"train": train.chosen(stay), "test": train.chosen(off)}
        notes.append("{:,} images split off as the test part (data.test_split)".format(len(off)))
    labels = {part: reader.labels for part, reader in readers.items()}
    problems: List[str] = []
    classes = check_classes(labels, problems, len(train.class_names) or None)
    _raise(path, problems)
    shape = _model_shape(train.shape, data, path)
    size_bytes = sum(reader.size_bytes for reader in readers.values())
    held = data.cache == "memory" or (data.cache == "auto" and machine.fits(size_bytes))
    notes.append(
        "images: {:,.0f} MB decoded, {} ({:.1f} GB of memory for this run)".format(
            size_bytes / 1e6,
            "held in memory" if held else "read and decoded again in each epoch",
            machine.limit_bytes() / 1024**3,
        )
    )
    no_images = np.empty((0, *train.shape), np.uint8)
    parts = {}
    for part, reader in readers.items():
        parts[part] = Part(no_images, reader.labels, 1 / 255, reader, held, shape)
    return Dataset(path, parts["train"], parts["test"], shape, classes, train.class_names, notes)


def _of_arrays(
    path: str, arrays: Dict[str, NDArray[Any]], problems: List[str], data: DataSpec
) -> Dataset:
    """A data set of arrays in memory.

    Args:
        path: for messages.
        arrays: by name; emptied.
        problems: with the arrays that could not be read.
        data: how they become images for the model.
    """
    checked = check_arrays(arrays, problems)
    _raise(path, problems)
    shape = _model_shape(checked.images["train"].shape[1:], data, path)
    parts = {}
    warnings: List[str] = []
    for part, array in checked.images.items():
        parts[part] = Part(array, checked.labels[part], checked.scales[part], shape=shape)
        is_float = array.dtype.kind == "f"
        warnings += ranges.doubts("x_" + part, float(array.max()), is_float)
    return Dataset(
        path,
        parts["train"],
        parts["test"],
        shape,
        checked.classes,
        checked.class_names,
        checked.notes,
        warnings,
    )


def _model_shape(stored: Tuple[int, ...], data: DataSpec, path: str) -> Tuple[int, ...]:
    """The (height, width, channels) that the model takes.

    Args:
        stored: the (height, width, channels) of the images in the set.
        data: what is asked for.
        path: for messages.
    """
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
    """The data set in one line for people, and a line for each note and warning."""
    height, width, channels = dataset.image_shape
    line = "data: {}: {:,} training and {:,} test images of {}x{}x{} ({}), {} classes".format(
        dataset.path,
        dataset.train.rows,
        dataset.test.rows,
        height,
        width,
        channels,
        dataset.train.images.dtype,
        dataset.classes,
    )
    warnings = ["warning: " + text for text in dataset.warnings]
    return "\n".join([line, *dataset.notes, *warnings])


def split_rows(
    labels: NDArray[Any], share: float, seed: int, key: str = "data.validation_split"
) -> Tuple[NDArray[Any], NDArray[Any]]:
    """Split off a share of each class's rows, chosen by the seed alone.

    Args:
        labels: class numbers, int32 (rows,).
        share: of the rows; each class gives its own, rounded.
        seed: the run's.
        key: the setting, for messages.

    Returns:
        the row numbers that stay and those split off, int32, in ascending order.

    Raises:
        DataError: a class would have no row on one side.
    """
    if share == 0:
        return np.arange(len(labels), dtype=np.int32), np.empty(0, np.int32)
    random = np.random.default_rng([seed, _SPLIT_STREAM])
    off = np.zeros(len(labels), bool)
    problems = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = split_off(len(rows), share)
        if not 0 < count < len(rows):
            problems.append("class {}: {} of its {} rows".format(label, count, len(rows)))
        off[random.permutation(rows)[:count]] = True
    if problems:
        more = ["..."] if len(problems) > _SHOWN else []
        raise DataError(
            "{} {} would split off\n  {}\n"
            "expected at least one row of each class on both sides".format(
                key, share, "\n  ".join(problems[:_SHOWN] + more)
            )
        )
    return np.flatnonzero(~off).astype(np.int32), np.flatnonzero(off).astype(np.int32)


def epoch_order(rows: NDArray[Any], seed: int, epoch: int) -> NDArray[Any]:
    """The training rows in the order of one epoch.

    A function of the seed and the epoch alone.

    Args:
        rows: row numbers, int32.
        seed: the run's.
        epoch: from 0.
    """
    return np.random.default_rng([seed, epoch]).permutation(rows)
