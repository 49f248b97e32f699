"""Reads rows from TFRecord files, whose records hold an encoded image and its class."""

from __future__ import annotations

import functools
import os
import resource
import struct
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple

import numpy as np

from hpcdl.contract import ranges
from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown
from hpcdl.contract.machine import cpus
from hpcdl.contract.record_files import RecordFiles
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset.decode import decode
from hpcdl.trainer.dataset.reader import AT_ONCE, Reader, quick

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The features in which TFRecords of different makers hold an image, its class, and its file name
ENCODED = ("image/encoded", "image_raw", "image")
_LABEL = ("image/class/label", "label", "target", "class")
_FILE = ("image/filename", "filename", "image_name")
# Those in which they hold the sizes of an image of bare pixels
_SIZES = (
    ("height", "image/height"),
    ("width", "image/width"),
    ("depth", "channels", "image/channels"),
)
_ENCODED_STARTS = (b"\xff\xd8\xff", b"\x89PNG")


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

        batches = tf.data.Dataset.from_tensor_slices(rows).batch(AT_ONCE)
        return quick(batches.map(self._read_in_graph).unbatch().map(self._decode, cpus()))

    def _read_in_graph(self, rows: Any) -> Any:
        import tensorflow as tf

        return tf.ensure_shape(tf.numpy_function(self._read, [rows], tf.string), (None,))

    def _read(self, rows: NDArray[Any]) -> NDArray[Any]:
        records = []
        for row in rows:
            shard, offset, size = self._places[row]
            records.append(os.pread(self._files[shard], size, offset))
        return np.array(records, object)

    def _decode(self, record: Any) -> Any:
        import tensorflow as tf

        features = {self._key: tf.io.FixedLenFeature([], tf.string)}
        content = tf.io.parse_single_example(record, features)[self._key]
        return decode(content, None, self.shape)

    def name(self, row: int) -> str:
        """As `Reader`'s."""
        shard, offset, _ = self._places[row]
        return "the record at byte {} of {}".format(offset - 12, self._shards[shard])


def _places_of(number: int, shard: str) -> List[Place]:
    """Where the records of a shard lie.

    Source of the format: https://www.tensorflow.org/tutorials/load_data/tfrecord.

    Raises:
        DataError: the lengths do not add up to the file's.
    """
    places = []
    offset, end = 0, os.path.getsize(shard)
    with open(shard, "rb", buffering=0) as file:
        while offset < end:
            file.seek(offset)
            head = file.read(12)
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else end
            if offset + 16 + size > end:
                raise DataError(
                    "{}: is damaged at byte {:,}: no complete record begins there "
                    "({:,} bytes in all)".format(shard, offset, end),
                    "copy it again from its source",
                )
            places.append(Place(number, offset + 12, size))
            offset += 16 + size
    return places


def places_in(shards: List[str]) -> List[Place]:
    """Where the records of all shards lie, in their order.

    Raises:
        DataError: the lengths of the records do not add up to a file's.
    """
    places: List[Place] = []
    for number, shard in enumerate(shards):
        places += _places_of(number, shard)
    return places


def open_records(path: str, data: DataSpec, files: RecordFiles) -> Dict[str, Reader]:
    """The readers of TFRecord files of other makers.

    All labels are read, and every record's checksum is compared.

    Args:
        path: the folder.
        data: how its images are read.
        files: what `find_records` found in it.

    Raises:
        DataError: the files cannot be used.
    """
    problems = ["{}: {}\n{}".format(shown(path), problem, fix) for problem, fix in files.problems]
    if problems:
        raise DataError("\n".join(problems), "see docs/my-data.md for what TFRecords look like")
    if data.image_size is None:
        raise DataError(
            "{}: TFRecords hold images of any size".format(path),
            "set data.image_size: [height, width]",
        )
    _allow_open_files()
    names = _features_in(files.parts["train"][0])
    labels = {part: _labels(shards, names.label) for part, shards in files.parts.items()}
    counted, class_names = ranges.count_from_zero(labels)
    notes = [*files.notes, *counted]
    shape = (*data.image_size, data.channels(3))
    readers: Dict[str, Reader] = {}
    for part, shards in files.parts.items():
        places = places_in(shards)
        readers[part] = RecordReader(
            shards, places, names.image, labels[part], shape, class_names, notes
        )
        if names.file:
            readers[part].file_names = functools.partial(_file_names, shards, names.file)
    return readers


def _allow_open_files() -> None:
    """Raise the limit of open files to the allowed maximum: large sets have a thousand."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def _labels(shards: List[str], label: str) -> NDArray[Any]:
    """The labels of all records, int32 (rows,)."""
    import tensorflow as tf

    labels: List[int] = []
    for shard in shards:
        try:
            for batch in tf.data.TFRecordDataset(shard).batch(1024):
                parsed = tf.io.parse_example(batch, {label: tf.io.FixedLenFeature([], tf.int64)})
                labels += parsed[label].numpy().tolist()
        except tf.errors.OpError as error:
            raise DataError(
                "{}: cannot be read after {:,} records: {}".format(
                    shown(shard), len(labels), str(error.message)[:200]
                ),
                "copy it again from its source",
            )
    negative = [number for number in labels if number < 0]
    if negative:
        raise DataError(
            "{}: holds label {}; expected class numbers from 0".format(
                shown(shards[0]), negative[0]
            )
        )
    if not labels:
        raise DataError("{}: has no records".format(shown(shards[0])), "copy or write it again")
    return np.array(labels, np.int32)


def _file_names(shards: List[str], feature: str) -> List[str]:
    """The file that each record was made from, as the records tell."""
    import tensorflow as tf

    names: List[str] = []
    features = {feature: tf.io.FixedLenFeature([], tf.string, default_value="")}
    for batch in tf.data.TFRecordDataset(shards).batch(1024):
        parsed = tf.io.parse_example(batch, features)
        names += [os.fsdecode(name) for name in parsed[feature].numpy().tolist()]
    return names


class _Features(NamedTuple):
    """The features that hold a record's image, its label, and, if any, the name of its file."""

    image: str
    label: str
    file: str


def _features_in(shard: str) -> _Features:
    """The features of a file's first record.

    Raises:
        DataError: it has none that can be used.
    """
    from hpcdl.trainer.runtime.log import quiet_import

    with quiet_import():
        import tensorflow as tf

    try:
        record = next(iter(tf.data.TFRecordDataset(shard).take(1)), None)
        example = tf.train.Example.FromString(b"" if record is None else record.numpy())
    except Exception as error:
        raise DataError(
            "{}: is not a TFRecord file of tf.train.Example: {}".format(
                shown(shard), str(error).split("\n")[0][:200]
            )
        )
    features = example.features.feature
    image = next((name for name in ENCODED if name in features), None)
    label = next((name for name in _LABEL if name in features), None)
    if image is None or label is None:
        raise DataError(
            "{}: its first record has the features {}; expected an encoded image under {} and its "
            "class number under {}".format(
                shown(shard),
                ", ".join(sorted(features)) or "none",
                " or ".join(ENCODED),
                " or ".join(_LABEL),
            )
        )
    problem = _wrong_label(label, features[label]) or _wrong_image(image, features)
    if problem:
        raise DataError(
            "{}: {}".format(shown(shard), problem), "write them again: docs/my-data.md shows how"
        )
    file = next((name for name in _FILE if features[name].bytes_list.value), "")
    return _Features(image, label, file)


def _wrong_label(name: str, feature: Any) -> str:
    numbers = feature.int64_list.value
    if len(numbers) == 1:
        return ""
    kinds = {"bytes_list": "text", "float_list": "floats"}
    kind = kinds.get(feature.WhichOneof("kind"), "whole numbers")
    count = len(numbers) or len(feature.bytes_list.value) or len(feature.float_list.value)
    return "{} of its first record holds {} {}; expected one whole number, the class from 0".format(
        name, count, kind
    )


def _wrong_image(name: str, features: Any) -> str:
    """What is wrong with a record's image; many tutorials store bare pixels."""
    content = b"".join(features[name].bytes_list.value)
    if content.startswith(_ENCODED_STARTS):
        return ""
    sizes: List[int] = []
    for names in _SIZES:
        numbers: List[int] = []
        for feature in names:
            if feature in features:
                numbers.extend(features[feature].int64_list.value)
        sizes += numbers[:1]
    if len(sizes) > 1 and len(content) % int(np.prod(sizes)) == 0 and content:
        return (
            "{} of its first record holds bare pixels ({:,} bytes, an image of {}); expected a "
            "JPEG or PNG, as tf.io.encode_png(image) makes it".format(
                name, len(content), "x".join(map(str, sizes))
            )
        )
    return (
        "{} of its first record holds {:,} bytes that are not a JPEG or PNG (they begin with {}); "
        "bare pixels are not read: store tf.io.encode_png(image)".format(
            name, len(content), content[:4].hex() or "nothing"
        )
    )
