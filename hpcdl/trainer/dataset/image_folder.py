"""Reads rows from a folder of images per class."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Dict, List

import numpy as np

from hpcdl.contract import image_folder, ranges
from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown
from hpcdl.contract.machine import cpus
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset.decode import decode
from hpcdl.trainer.dataset.reader import Reader, quick, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Files(Reader):
    """Image files, one a row.

    Args:
        folder: what the names that `files` gives are relative to.
        listing: the paths, and the class numbers.
        heads: of these files.
        about: the arguments of `Reader` after the labels.
    """

    def __init__(
        self,
        folder: str,
        listing: image_folder.Listing,
        heads: List[image_folder.Head],
        *about: Any,
    ) -> None:
        super().__init__(np.array(listing.labels, np.int32), *about)
        self._folder, self._paths = folder, listing.paths
        self._resizes = any((head.height, head.width) != self.shape[:2] for head in heads)
        orientations = np.array([head.orientation for head in heads], np.int32)
        self._orientations = orientations if (orientations > 1).any() else None

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        # As bytes: a name need not be UTF-8
        paths = tf.constant([os.fsencode(self._paths[row]) for row in rows], tf.string)
        columns = [paths]
        if self._orientations is not None:
            columns.append(tf.constant(self._orientations[rows]))

        def read(path: Any, orientation: Any = None) -> Any:
            return decode(tf.io.read_file(path), orientation, self.shape, self._resizes)

        files = tf.data.Dataset.from_tensor_slices(tuple(columns))
        return quick(files.map(read, cpus()))

    def name(self, row: int) -> str:
        return shown(self._paths[row])

    def files(self, rows: NDArray[Any]) -> List[str]:
        return [os.path.relpath(self._paths[row], self._folder) for row in rows]


def open_folder(path: str, data: DataSpec, folder: image_folder.Folder) -> Dict[str, Reader]:
    """The readers of the parts of a folder.

    Args:
        path: the folder.
        data: how its images are read.
        folder: its content.

    Raises:
        DataError: naming all problems of its files; or they differ in size, and data.image_size is
            not set.
    """
    problems = list(folder.problems)
    heads = {}
    for part, listing in folder.parts.items():
        heads[part] = image_folder.read_heads(listing.paths, problems)
    if problems:
        raise DataError(
            "{} cannot be trained on:\n  {}".format(shown(path), "\n  ".join(shortened(problems))),
            "see docs/my-data.md for what a folder of images looks like",
        )
    all_heads = list(itertools.chain.from_iterable(heads.values()))
    size = data.image_size or image_folder.one_size(all_heads, path)
    turned = sum(head.orientation > 1 for head in all_heads)
    notes = list(folder.notes)
    if turned:
        notes.append("{:,} images are turned upright, as their EXIF says".format(turned))
    notes += ranges.deep(sum(head.bits > 8 for head in all_heads))
    classes = [shown(name) for name in folder.classes]
    about = ((*size, data.channels(3)), classes, notes)
    readers: Dict[str, Reader] = {}
    for part, listing in folder.parts.items():
        readers[part] = _Files(path, listing, heads[part], *about)
    return readers
