"""A set that ``hpcdl data pack`` made: one array of images of a size, or shards of encoded ones."""

from __future__ import annotations

import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import numpy as np

from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown
from hpcdl.contract.machine import cpus
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset.reader import AHEAD, AT_ONCE, Reader, quick
from hpcdl.trainer.dataset.tfrecords import ENCODED, RecordReader, places_of
from hpcdl.trainer.runtime.log import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACK = "pack.json"  # what `hpcdl data pack` writes beside its files
PACK_VERSION = 1
_LINES = "images.jsonl"  # a line for each image, with the file that it was
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

        found = tf.data.Dataset.from_tensor_slices(rows).batch(batch_rows, drop_remainder=True)
        return quick(
            found.map(lambda some: self._read_in_graph(some, batch_rows), cpus()).prefetch(AHEAD)
        )

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        found = tf.data.Dataset.from_tensor_slices(rows).batch(AT_ONCE)
        return found.map(lambda some: self._read_in_graph(some, None)).unbatch()

    def fill(self, found: NDArray[Any]) -> None:
        content = found.reshape(-1).data

        def read(first: int) -> None:
            rest, at = content[first : first + _CHUNK_BYTES], self._begin + first
            while rest:
                count = os.preadv(self._file, [rest], at)
                if not count:
                    raise DataError(
                        "{}: was cut short meanwhile".format(self._path), "copy or pack it again"
                    )
                rest, at = rest[count:], at + count

        with ThreadPoolExecutor(
            cpus()
        ) as pool:  # parallel filesystems give one reader a part of what they can
            for _ in pool.map(read, range(0, len(content), _CHUNK_BYTES)):
                pass

    def _read_in_graph(self, rows: Any, count: Optional[int]) -> Any:
        import tensorflow as tf

        return tf.ensure_shape(
            tf.numpy_function(self._read, [rows], tf.uint8), (count, *self.shape)
        )

    def _read(self, rows: NDArray[Any]) -> NDArray[Any]:
        size = int(np.prod(self.shape))
        found = np.empty((len(rows), size), np.uint8)
        for place, row in enumerate(rows):
            if os.preadv(self._file, [found[place]], self._begin + int(row) * size) != size:
                raise EOFError(
                    "row {} of {} is not there: the file is cut short".format(row, self._path)
                )
        return found.reshape(len(rows), *self.shape)

    def name(self, row: int) -> str:
        return "row {} of {}".format(row, self._path)


def open_pack(path: str, data: DataSpec) -> Dict[str, Reader]:
    """What `hpcdl data pack` made; sizes are compared here, checksums by the checks before the job is sent."""
    try:
        with open(os.path.join(path, PACK), encoding="utf-8") as file:
            about = json.load(file)
        if about.get("format") != "hpcdl-pack" or about.get("version") != PACK_VERSION:
            raise DataError(
                "{}: is format {} version {}; expected hpcdl-pack version {}".format(
                    os.path.join(path, PACK),
                    about.get("format"),
                    about.get("version"),
                    PACK_VERSION,
                ),
                "pack the images again with this hpcdl",
            )
        problems, parts = [], {}
        for content in about["parts"].values():
            for row in content["files"]:
                file_name = os.path.join(path, row["name"])
                size = os.path.getsize(file_name) if os.path.exists(file_name) else None
                if size != row["bytes"]:
                    found = "is missing" if size is None else "has {:,} bytes".format(size)
                    problems.append(
                        "{}: {}; it was packed with {:,}".format(file_name, found, row["bytes"])
                    )
        if problems:
            raise DataError("\n".join(problems), "copy or pack it again")
        for part, content in about["parts"].items():
            parts[part] = _open_part(path, about, content, data)
            parts[part].file_names = functools.partial(
                _file_names, os.path.join(path, _LINES), part
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "{}: is damaged ({}: {})".format(os.path.join(path, PACK), type(error).__name__, error),
            "pack it again",
        )
    return parts


def _file_names(lines: str, part: str) -> List[str]:
    """The file that each row of a part was packed from; none if the list of them cannot be read."""
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


def _open_part(path: str, about: Dict[str, Any], content: Dict[str, Any], data: DataSpec) -> Reader:
    labels = np.load(os.path.join(path, content["labels"]), allow_pickle=False)
    files = [os.path.join(path, row["name"]) for row in content["files"]]
    classes = [shown(name) for name in about["classes"]]
    size = about["image_size"]
    if about["storage"] == "npy":
        return _Array(files[0], labels, (*size, about["channels"]), classes, [])
    size = data.image_size or size
    if size is None:
        raise DataError(
            "{}: its images differ in size; a model takes one".format(path),
            "set data.image_size: [height, width]",
        )
    places = [place for number, shard in enumerate(files) for place in places_of(number, shard)]
    if len(places) != len(labels):
        raise DataError("{}: holds {} records but {} labels".format(path, len(places), len(labels)))
    return RecordReader(
        files, places, ENCODED[0], labels, (*size, data.channels(about["channels"])), classes, []
    )
