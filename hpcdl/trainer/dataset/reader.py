"""What reads a part's images from files by row number, in any order, as TensorFlow's datasets."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Optional, Tuple

import numpy as np

from hpcdl.contract import image_folder
from hpcdl.contract.errors import DataError
from hpcdl.contract.machine import cpus
from hpcdl.trainer.runtime.log import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 64  # rows of one read
AHEAD = 4  # batches decoded before they are asked for
_TELL_S = 20.0  # seconds between two lines of progress
_ALIGNED = 64  # bytes, as TensorFlow's kernels want their memory


class Reader:
    """Reads one part's images from files, in any order.

    Args:
        labels: class numbers, int32 (rows,).
        shape: (height, width, channels) that each image is decoded to.
        class_names: by class number; empty where they have none.
        notes: what people should know of the files.

    Attributes:
        file_names: gives the file of every row's image, read when it is called; None if not known.
    """

    file_names: Optional[Callable[[], List[str]]] = None

    def __init__(
        self, labels: NDArray[Any], shape: Tuple[int, ...], class_names: List[str], notes: List[str]
    ) -> None:
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
        return self.single(rows).batch(batch_rows, drop_remainder=True).prefetch(AHEAD)

    def name(self, row: int) -> str:
        """Where a row's image lies, for messages."""
        raise NotImplementedError

    def files(self, rows: NDArray[Any]) -> List[str]:
        """The files of these rows' images, relative to where the set came from; none if not known.

        Names that are not UTF-8 are as `os.fsdecode` gives them.
        """
        if self.file_names is None:
            return []
        names = self.file_names()
        return [names[row] for row in rows] if len(names) == len(self.labels) else []

    def read_all(self) -> Any:
        """All images as one uint8 tensor in host memory, (rows, height, width, channels), which exists once.

        Raises:
            DataError: naming all images that cannot be decoded.
        """
        import tensorflow as tf

        memory = np.empty(self.size_bytes + _ALIGNED, np.uint8)
        start = -memory.ctypes.data % _ALIGNED
        found = memory[start : start + self.size_bytes].reshape(len(self.labels), *self.shape)
        with self.blaming():
            self.fill(found)
        return tf.experimental.dlpack.from_dlpack(found.__dlpack__())  # no copy

    def fill(self, found: NDArray[Any]) -> None:
        """Decode all images into an array of their shape, uint8."""
        first, told = 0, time.monotonic()
        for batch in self.single(np.arange(len(self.labels), dtype=np.int32)).batch(AT_ONCE):
            found[first : first + len(batch)] = batch.numpy()
            first += len(batch)
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                say("decoded {:,} of {:,} images".format(first, len(self.labels)))

    @contextlib.contextmanager
    def blaming(self) -> Iterator[None]:
        """A context in which images that cannot be read become a `DataError` with their names."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            bad = self._unreadable()
            if not bad:
                raise
            raise DataError(
                "{:,} of {:,} images cannot be read:\n  {}".format(
                    len(bad), len(self.labels), "\n  ".join(shortened(bad))
                ),
                "correct or remove them; hpcdl data pack finds all such images of a folder",
            ) from error

    def _unreadable(self) -> List[str]:
        """The rows whose images cannot be read, and why."""
        import tensorflow as tf

        rows = np.arange(len(self.labels), dtype=np.int32)
        numbered = tf.data.Dataset.zip(
            (tf.data.Dataset.from_tensor_slices(rows), self.single(rows))
        )
        left = set(rows.tolist()) - {
            int(row) for row, _ in numbered.apply(tf.data.experimental.ignore_errors())
        }
        bad: List[str] = []
        for row in sorted(left):
            try:
                why = ""
                if len(bad) < image_folder.SHOWN:  # each one needs a dataset of its own
                    next(iter(self.single(np.array([row], np.int32))))
            except tf.errors.OpError as error:
                why = str(error.message).split("\n")[0][:200]
            bad.append("{}: {}".format(self.name(row), why))
        return bad


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

    def files(self, rows: NDArray[Any]) -> List[str]:
        return self._whole.files(self._rows[rows])


def quick(dataset: Any) -> Any:
    """A dataset with as many threads as this process may use CPUs; the order stays."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = cpus()
    options.deterministic = True
    return dataset.with_options(options)


def shortened(problems: List[str]) -> List[str]:
    """The first of many problems, and how many there are beside."""
    more = len(problems) - image_folder.SHOWN
    return (
        problems
        if more <= 0
        else [*problems[: image_folder.SHOWN], "... and {:,} more".format(more)]
    )
