"""TFRecord files as a source of rows: each record holds an encoded image and its class."""

from __future__ import annotations

import glob
import os
import struct
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Tuple

import numpy as np

from hpcdl.trainer import images
from hpcdl.trainer.errors import DataError
from hpcdl.trainer.machine import cpus
from hpcdl.trainer.rows import AT_ONCE, Reader, quick
from hpcdl.trainer.spec import DataSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENCODED = ("image/encoded", "image_raw", "image")  # where TFRecords of different makers hold an image and its class
_LABEL = ("image/class/label", "label")


class Place(NamedTuple):
    """Where a record's bytes lie."""

    shard: int
    offset: int
    size: int


class RecordReader(Reader):
    """TFRecord files; each record holds an encoded image."""

    def __init__(self, shards: List[str], places: List[Place], key: str, *about: Any) -> None:
        super().__init__(*about)
        self._shards, self._places, self._key = shards, places, key
        self._files = [os.open(shard, os.O_RDONLY) for shard in shards]

    def single(self, rows: NDArray[Any]) -> Any:
        """As `Reader`'s."""
        import tensorflow as tf

        found = tf.data.Dataset.from_tensor_slices(rows).batch(AT_ONCE)
        found = found.map(lambda some: tf.ensure_shape(tf.numpy_function(self._read, [some], tf.string), (None,)))
        return quick(found.unbatch().map(self._decode, cpus()))

    def _read(self, rows: NDArray[Any]) -> NDArray[Any]:
        found = []
        for row in rows:
            shard, offset, size = self._places[row]
            found.append(os.pread(self._files[shard], size, offset))
        return np.array(found, object)

    def _decode(self, record: Any) -> Any:
        import tensorflow as tf

        content = tf.io.parse_single_example(record, {self._key: tf.io.FixedLenFeature([], tf.string)})[self._key]
        return images.decode(content, None, self.shape)

    def name(self, row: int) -> str:
        """As `Reader`'s."""
        shard, offset, _ = self._places[row]
        return "the record at byte {} of {}".format(offset - 12, self._shards[shard])


def places_of(number: int, shard: str) -> List[Place]:
    """Where the records of a shard lie. Source of the format: https://www.tensorflow.org/tutorials/load_data/tfrecord.

    Raises:
        DataError: the lengths do not add up to the file's.
    """
    places, offset, end = [], 0, os.path.getsize(shard)
    with open(shard, "rb", buffering=0) as file:
        while offset < end:
            file.seek(offset)
            head = file.read(12)
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else end
            if offset + 16 + size > end:
                raise DataError(
                    "{}: is damaged at byte {:,}: no whole record is there ({:,} bytes in all)".format(
                        shard, offset, end
                    ),
                    "copy it again from where it came",
                )
            places.append(Place(number, offset + 12, size))
            offset += 16 + size
    return places


def open_records(path: str, data: DataSpec) -> Dict[str, Reader]:
    """TFRecord files of other makers: their labels are read, and every record's checksum compared."""
    parts = {}
    for part in ("train", "test"):
        shards = sorted(glob.glob(os.path.join(glob.escape(path), part + "*.tfrecord*")))
        if shards:
            parts[part] = shards
    if "train" not in parts:
        raise DataError(
            "{}: has TFRecord files, but none whose name begins with train; found {}".format(
                path, ", ".join(sorted(os.listdir(path))[:5])
            ),
            "name them train*.tfrecord and test*.tfrecord",
        )
    if data.image_size is None:
        raise DataError("{}: TFRecords hold images of any size".format(path), "set data.image_size: [height, width]")
    shape = (*data.image_size, data.channels(3))
    return {part: _records(shards, shape) for part, shards in parts.items()}


def _records(shards: List[str], shape: Tuple[int, ...]) -> Reader:
    from hpcdl.trainer.output import quiet_import

    with quiet_import():
        import tensorflow as tf

    key, label = _keys(shards[0])
    labels: List[int] = []
    for shard in shards:
        try:
            for some in tf.data.TFRecordDataset(shard).batch(1024):
                found = tf.io.parse_example(some, {label: tf.io.FixedLenFeature([], tf.int64)})
                labels += found[label].numpy().tolist()
        except tf.errors.OpError as error:
            raise DataError(
                "{}: cannot be read after {:,} records: {}".format(shard, len(labels), str(error.message)[:200]),
                "copy it again from where it came",
            )
    places = [place for number, shard in enumerate(shards) for place in places_of(number, shard)]
    wrong = [row for row in labels if row < 0]
    if wrong:
        raise DataError("{}: holds label {}; expected class numbers from 0".format(shards[0], wrong[0]))
    return RecordReader(shards, places, key, np.array(labels, np.int32), shape, [], [])


def _keys(shard: str) -> Tuple[str, str]:
    """Under which names the first record holds its image and its label."""
    import tensorflow as tf

    try:
        record = next(iter(tf.data.TFRecordDataset(shard).take(1)), None)
        known = set(tf.train.Example.FromString(b"" if record is None else record.numpy()).features.feature)
    except Exception as error:
        raise DataError(
            "{}: is no TFRecord file of tf.train.Example: {}".format(shard, str(error).split("\n")[0][:200])
        )
    key = next((name for name in ENCODED if name in known), None)
    label = next((name for name in _LABEL if name in known), None)
    if key is None or label is None:
        raise DataError(
            "{}: its first record has the features {}; expected an encoded image under {} and its class number "
            "under {}".format(shard, ", ".join(sorted(known)) or "none", " or ".join(ENCODED), " or ".join(_LABEL))
        )
    return key, label
