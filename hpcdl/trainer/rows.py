"""Images that lie in files, read by row number: a folder of images, a packed set, TFRecord files."""

from __future__ import annotations

import glob
import json
import os
import struct
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from hpcdl.trainer import images
from hpcdl.trainer.errors import DataError
from hpcdl.trainer.spec import DataSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACK = "pack.json"  # what `hpcdl data pack` writes beside its files
PACK_VERSION = 1
_AT_ONCE = 64  # rows of one read
_AHEAD = 4  # batches decoded before they are asked for
_ALIGNED = 64  # bytes, as TensorFlow's kernels want their memory
_ENCODED = ("image/encoded", "image_raw", "image")  # where TFRecords of different makers hold an image and its class
_LABEL = ("image/class/label", "label")


class Reader:
    """Reads one part's images from files, in any order.

    Args:
        labels: class numbers, int32 (rows,).
        shape: (height, width, channels) that each image is decoded to.
        class_names: by class number; empty where they have none.
        notes: what people should know of the files.
    """

    def __init__(self, labels: NDArray[Any], shape: Tuple[int, ...], class_names: List[str], notes: List[str]) -> None:
        self.labels, self.shape, self.class_names, self.notes = labels, shape, class_names, notes

    @property
    def size_bytes(self) -> int:
        """The bytes of all images once they are decoded."""
        return len(self.labels) * int(np.prod(self.shape))

    def chosen(self, rows: NDArray[Any]) -> Reader:
        """A reader of some of the rows."""
        return _Chosen(self, rows)

    def single(self, rows: NDArray[Any]) -> Any:
        """A tf.data.Dataset of the images of these rows, one by one, uint8."""
        raise NotImplementedError

    def batches(self, rows: NDArray[Any], batch_rows: int) -> Any:
        """A tf.data.Dataset of full batches of the images of these rows, uint8, read ahead."""
        return self.single(rows).batch(batch_rows, drop_remainder=True).prefetch(_AHEAD)

    def name(self, row: int) -> str:
        """Where a row's image lies, for messages."""
        raise NotImplementedError

    def read_all(self) -> Any:
        """All images as one uint8 tensor in host memory, (rows, height, width, channels), which exists once.

        Raises:
            DataError: naming all images that cannot be decoded.
        """
        import tensorflow as tf

        size = self.size_bytes
        memory = np.empty(size + _ALIGNED, np.uint8)
        start = -memory.ctypes.data % _ALIGNED
        found = memory[start : start + size].reshape(len(self.labels), *self.shape)
        first = 0
        with self.blaming():
            for batch in self.single(np.arange(len(self.labels), dtype=np.int32)).batch(_AT_ONCE):
                found[first : first + len(batch)] = batch.numpy()
                first += len(batch)
        return tf.experimental.dlpack.from_dlpack(found.__dlpack__())  # no copy

    def blaming(self) -> Any:
        """A context in which images that cannot be read become a `DataError` with their names."""
        return _Blame(self)


class _Blame:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        import tensorflow as tf

        faults = (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.DataLossError)
        if not isinstance(error, (*faults, tf.errors.PermissionDeniedError, tf.errors.UnknownError)):
            return
        bad = []
        for row in range(len(self._reader.labels)):
            try:
                next(iter(self._reader.single(np.array([row], np.int32))))
            except tf.errors.OpError as problem:
                bad.append("{}: {}".format(self._reader.name(row), str(problem.message).split("\n")[0][:200]))
        if bad:
            raise DataError(
                "{:,} of {:,} images cannot be read:\n  {}".format(
                    len(bad), len(self._reader.labels), "\n  ".join(shortened(bad))
                ),
                "correct or remove them; hpcdl data pack finds all such images of a folder",
            ) from error


class _Chosen(Reader):
    """Some rows of another reader."""

    def __init__(self, whole: Reader, rows: NDArray[Any]) -> None:
        super().__init__(whole.labels[rows], whole.shape, whole.class_names, whole.notes)
        self._whole, self._rows = whole, rows

    def single(self, rows: NDArray[Any]) -> Any:
        return self._whole.single(self._rows[rows])

    def batches(self, rows: NDArray[Any], batch_rows: int) -> Any:
        return self._whole.batches(self._rows[rows], batch_rows)

    def name(self, row: int) -> str:
        return self._whole.name(int(self._rows[row]))


class _Files(Reader):
    """Image files, one a row."""

    def __init__(self, listing: images.Listing, orientations: NDArray[Any], *about: Any) -> None:
        super().__init__(np.array(listing.labels, np.int32), *about)
        self._paths = listing.paths
        self._orientations = orientations if (orientations > 1).any() else None

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        paths = tf.constant([self._paths[row] for row in rows], tf.string)
        turned = None if self._orientations is None else tf.constant(self._orientations[rows])

        def read(path: Any, orientation: Any = None) -> Any:
            return images.decode(tf.io.read_file(path), orientation, self.shape)

        found = tf.data.Dataset.from_tensor_slices((paths,) if turned is None else (paths, turned))
        return _quick(found.map(read, _cpus()))

    def name(self, row: int) -> str:
        return self._paths[row]


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
        return _quick(found.map(lambda some: self._read_in_graph(some, batch_rows), _cpus()).prefetch(_AHEAD))

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        found = tf.data.Dataset.from_tensor_slices(rows).batch(_AT_ONCE)
        return found.map(lambda some: self._read_in_graph(some, None)).unbatch()

    def read_all(self) -> Any:
        import tensorflow as tf

        return tf.constant(np.load(self._path, mmap_mode="r"))  # one copy, read from the first byte to the last

    def _read_in_graph(self, rows: Any, count: Optional[int]) -> Any:
        import tensorflow as tf

        return tf.ensure_shape(tf.numpy_function(self._read, [rows], tf.uint8), (count, *self.shape))

    def _read(self, rows: NDArray[Any]) -> NDArray[Any]:
        size = int(np.prod(self.shape))
        found = np.empty((len(rows), size), np.uint8)
        for place, row in enumerate(rows):
            if os.preadv(self._file, [found[place]], self._begin + int(row) * size) != size:
                raise EOFError("row {} of {} is not there: the file is cut short".format(row, self._path))
        return found.reshape(len(rows), *self.shape)

    def name(self, row: int) -> str:
        return "row {} of {}".format(row, self._path)


class _Place(NamedTuple):
    """Where a record's bytes lie."""

    shard: int
    offset: int
    size: int


class _Records(Reader):
    """TFRecord files; each record holds an encoded image."""

    def __init__(self, shards: List[str], places: List[_Place], key: str, *about: Any) -> None:
        super().__init__(*about)
        self._shards, self._places, self._key = shards, places, key
        self._files = [os.open(shard, os.O_RDONLY) for shard in shards]

    def single(self, rows: NDArray[Any]) -> Any:
        import tensorflow as tf

        found = tf.data.Dataset.from_tensor_slices(rows).batch(_AT_ONCE)
        found = found.map(lambda some: tf.ensure_shape(tf.numpy_function(self._read, [some], tf.string), (None,)))
        return _quick(found.unbatch().map(self._decode, _cpus()))

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
        shard, offset, _ = self._places[row]
        return "the record at byte {} of {}".format(offset - 12, self._shards[shard])


def _quick(dataset: Any) -> Any:
    """A dataset with as many threads as this process may use CPUs; the order stays."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = _cpus()
    options.deterministic = True
    return dataset.with_options(options)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def shortened(problems: List[str]) -> List[str]:
    """The first of many problems, and how many there are beside."""
    more = len(problems) - images.SHOWN
    return problems if more <= 0 else [*problems[: images.SHOWN], "... and {:,} more".format(more)]


def open_rows(path: str, data: DataSpec) -> Optional[Dict[str, Reader]]:
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
            return _open_pack(path, data)
        if glob.glob(os.path.join(glob.escape(path), "*.tfrecord*")):
            return _open_records(path, data)
        if not os.listdir(path):
            raise DataError(
                "{}: is an empty folder; expected a folder of images for each class, or IDX files".format(path)
            )
        listed = images.list_folder(path)
    except OSError as error:
        raise DataError("{}: cannot be read: {}".format(path, error))
    return None if listed is None else _open_files(path, data, listed)


def _open_files(path: str, data: DataSpec, folder: images.Folder) -> Dict[str, Reader]:
    classes, parts, problems = folder
    heads = {part: images.read_heads(listing.paths, problems) for part, listing in parts.items()}
    if problems:
        raise DataError("{} cannot be trained on:\n  {}".format(path, "\n  ".join(shortened(problems))))
    flat = [head for part in heads.values() for head in part]
    size = data.image_size or images.one_size(flat, path)
    turned = sum(head.orientation > 1 for head in flat)
    notes = ["{:,} images are turned upright, as their EXIF says".format(turned)] if turned else []
    shape = (*size, 1 if data.color == "grey" else 3)
    return {
        part: _Files(listing, np.array([head.orientation for head in heads[part]], np.int32), shape, classes, notes)
        for part, listing in parts.items()
    }


def _open_pack(path: str, data: DataSpec) -> Dict[str, Reader]:
    """What `hpcdl data pack` made; sizes are compared here, checksums by the checks before the job is sent."""
    try:
        with open(os.path.join(path, PACK), encoding="utf-8") as file:
            about = json.load(file)
        if about.get("format") != "hpcdl-pack" or about.get("version") != PACK_VERSION:
            raise DataError(
                "{}: is format {} version {}; expected hpcdl-pack version {}".format(
                    os.path.join(path, PACK), about.get("format"), about.get("version"), PACK_VERSION
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
                    problems.append("{}: {}; it was packed with {:,}".format(file_name, found, row["bytes"]))
        if problems:
            raise DataError("\n".join(problems), "copy or pack it again")
        for part, content in about["parts"].items():
            parts[part] = _open_part(path, about, content, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "{}: is damaged ({}: {})".format(os.path.join(path, PACK), type(error).__name__, error), "pack it again"
        )
    return parts


def _open_part(path: str, about: Dict[str, Any], content: Dict[str, Any], data: DataSpec) -> Reader:
    labels = np.load(os.path.join(path, content["labels"]), allow_pickle=False)
    channels = {"auto": about["channels"], "grey": 1, "rgb": 3}[data.color]
    files = [os.path.join(path, row["name"]) for row in content["files"]]
    size = about["image_size"]
    if about["storage"] == "npy":
        if data.image_size not in (None, size) or channels != about["channels"]:
            raise DataError(
                "{}: was packed as {}x{} pixels with {} channels; data.image_size is {} and color {}".format(
                    path, *size, about["channels"], data.image_size, data.color
                ),
                "pack it again with the size and colour that you want, or leave both out",
            )
        return _Array(files[0], labels, (*size, channels), about["classes"], [])
    size = data.image_size or size
    if size is None:
        raise DataError(
            "{}: its images differ in size; a model takes one".format(path), "set data.image_size: [height, width]"
        )
    places = [place for number, shard in enumerate(files) for place in _index(number, shard)]
    if len(places) != len(labels):
        raise DataError("{}: holds {} records but {} labels".format(path, len(places), len(labels)))
    return _Records(files, places, _ENCODED[0], labels, (*size, channels), about["classes"], [])


def _index(number: int, shard: str) -> List[_Place]:
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
            places.append(_Place(number, offset + 12, size))
            offset += 16 + size
    return places


def _open_records(path: str, data: DataSpec) -> Dict[str, Reader]:
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
    shape = (*data.image_size, 1 if data.color == "grey" else 3)
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
    places = [place for number, shard in enumerate(shards) for place in _index(number, shard)]
    wrong = [row for row in labels if row < 0]
    if wrong:
        raise DataError("{}: holds label {}; expected class numbers from 0".format(shards[0], wrong[0]))
    return _Records(shards, places, key, np.array(labels, np.int32), shape, [], [])


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
    key = next((name for name in _ENCODED if name in known), None)
    label = next((name for name in _LABEL if name in known), None)
    if key is None or label is None:
        raise DataError(
            "{}: its first record has the features {}; expected an encoded image under {} and its class number "
            "under {}".format(shard, ", ".join(sorted(known)) or "none", " or ".join(_ENCODED), " or ".join(_LABEL))
        )
    return key, label
