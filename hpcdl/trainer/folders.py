"""A folder of images per class as a source of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

import numpy as np

from hpcdl.trainer import images
from hpcdl.trainer.errors import DataError
from hpcdl.trainer.machine import cpus
from hpcdl.trainer.rows import Reader, quick, shortened
from hpcdl.trainer.spec import DataSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Files(Reader):
    """Image files, one a row."""

    def __init__(self, listing: images.Listing, heads: List[images.Head], *about: Any) -> None:
        super().__init__(np.array(listing.labels, np.int32), *about)
        self._paths = listing.paths
        self._resizes = any((head.height, head.width) != self.shape[:2] for head in heads)
        orientations = np.array([head.orientation for head in heads], np.int32)
        self._orientations = orientations if (orientations > 1).any() else None

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        paths = tf.constant([self._paths[row] for row in rows], tf.string)
        turned = None if self._orientations is None else tf.constant(self._orientations[rows])

        def read(path: Any, orientation: Any = None) -> Any:
            return images.decode(tf.io.read_file(path), orientation, self.shape, self._resizes)

        found = tf.data.Dataset.from_tensor_slices((paths,) if turned is None else (paths, turned))
        return quick(found.map(read, cpus()))

    def name(self, row: int) -> str:
        return self._paths[row]


def open_folder(path: str, data: DataSpec, folder: images.Folder) -> Dict[str, Reader]:
    """The readers of the parts of a folder.

    Raises:
        DataError: all that is wrong with its files; they differ in size and data.image_size is not set.
    """
    classes, parts, problems = folder
    heads = {part: images.read_heads(listing.paths, problems) for part, listing in parts.items()}
    if problems:
        raise DataError("{} cannot be trained on:\n  {}".format(path, "\n  ".join(shortened(problems))))
    flat = [head for part in heads.values() for head in part]
    size = data.image_size or images.one_size(flat, path)
    turned = sum(head.orientation > 1 for head in flat)
    notes = ["{:,} images are turned upright, as their EXIF says".format(turned)] if turned else []
    shape = (*size, data.channels(3))
    return {part: _Files(listing, heads[part], shape, classes, notes) for part, listing in parts.items()}
