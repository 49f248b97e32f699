"""Reads a packed set: one array of images of one size, or shards of encoded images."""

from __future__ import annotations

import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import numpy as np

from hpcdl.contract import pack_layout
from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown
from hpcdl.contract.machine import cpus
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset.reader import AHEAD, AT_ONCE, Reader, quick
from hpcdl.trainer.dataset.tfrecords import ENCODED, RecordReader, places_in
from hpcdl.trainer.runtime.log import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_BYTES = 16 << 20  # of one read


class _Array(Reader):
    """One .npy file with all images of a part, decoded and of one size."""

    def __init__(self, path: str, *about: Any) -> None:
        super().__init__(*about)
        self._path = path
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            self._begin = file.tell()
        self._file = os.open(path, os.O_RDONLY)

    def batches(self, rows: NDArray[Any], batch_rows: int) -> Any:
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensor_slices(rows).batch(batch_rows, drop_remainder=True)
        images = batches.map(lambda batch: self._read_in_graph(batch, batch_rows), cpus())
        return quick(images.prefetch(AHEAD))

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensor_slices(rows).batch(AT_ONCE)
        return batches.map(lambda batch: self._read_in_graph(batch, None)).unbatch()

    def fill(self, images: NDArray[Any]) -> None:
        content = images.reshape(-1).data

        def read(first: int) -> None:
            rest = content[first : first + _CHUNK_BYTES]
            offset = self._begin + first
            while rest:
                count = os.preadv(self._file, [rest], offset)
                if not count:
                    raise DataError(
                        "{}: was cut short meanwhile".format(self._path), "copy or pack it again"
                    )
                rest = rest[count:]
                offset += count

        # Parallel file systems give one reader only a part of their speed
        with ThreadPoolExecutor(cpus()) as pool:
            for _ in pool.map(read, range(0, len(content), _CHUNK_BYTES)):
                pass

    def _read_in_graph(self, rows: Any, count: Optional[int]) -> Any:
        import tensorflow as tf

        return tf.ensure_shape(
            tf.numpy_function(self._read, [rows], tf.uint8), (count, *self.shape)
        )

    def _read(self, rows: NDArray[Any]) -> NDArray[Any]:
        size = int(np.prod(self.shape))
        images = np.empty((len(rows), size), np.uint8)
        for image, row in zip(images, rows):
            if os.preadv(self._file, [image.data], self._begin + int(row) * size) != size:
                raise EOFError(
                    "row {} of {} is missing: the file is cut short".format(row, self._path)
                )
        return images.reshape(len(rows), *self.shape)

    def name(self, row: int) -> str:
        return "row {} of {}".format(row, self._path)


def open_pack(path: str, data: DataSpec) -> Dict[str, Reader]:
    """The readers of the parts of a packed set.

    The sizes of the files are compared here; the checks before the job is sent compare checksums.

    Args:
        path: the folder.
        data: how its images are read.

    Raises:
        DataError: it is damaged, or its images need another setting.
    """
    pack = pack_layout.read_pack(path)
    problems = []
    for problem in pack.damaged_files(path):
        problems.append(os.path.join(path, problem))
    if problems:
        raise DataError("\n".join(problems), "copy or pack it again")
    readers = {}
    try:
        for part in pack.parts:
            readers[part] = _open_part(path, pack, part, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "{}: is damaged ({}: {})".format(path, type(error).__name__, error), "pack it again"
        )
    return readers


def _open_part(path: str, pack: pack_layout.Pack, part: str, data: DataSpec) -> Reader:
    content = pack.parts[part]
    labels = np.load(os.path.join(path, content.labels), allow_pickle=False)
    files = [os.path.join(path, name) for name in content.files]
    classes = [shown(name) for name in pack.classes]
    reader: Reader
    if pack.storage == pack_layout.NPY:
        shape = (*(pack.image_size or ()), pack.channels)
        reader = _Array(files[0], labels, shape, classes, [])
    else:
        size = data.image_size or pack.image_size
        if size is None:
            raise DataError(
                "{}: its images differ in size; a model takes one".format(path),
                "set data.image_size: [height, width]",
            )
        places = places_in(files)
        if len(places) != len(labels):
            raise DataError(
                "{}: holds {} records but {} labels".format(path, len(places), len(labels))
            )
        shape = (*size, data.channels(pack.channels))
        reader = RecordReader(files, places, ENCODED[0], labels, shape, classes, [])
    lines = os.path.join(path, pack_layout.LINES)
    reader.file_names = functools.partial(_file_names, lines, part)
    return reader


def _file_names(lines: str, part: str) -> List[str]:
    """The file that each row of a part was packed from; none if the list of them is unreadable."""
    names: Dict[int, str] = {}
    try:
        with open(lines, encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                if line["part"] == part and line["row"] is not None:
                    names[line["row"]] = line["file"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        say("{} cannot be read, so images have no names: {}".format(lines, error))
        return []
    return [names[row] for row in sorted(names)]
