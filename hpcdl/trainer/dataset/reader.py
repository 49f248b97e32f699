"""Reads a part's images from files by row number, in any order, as datasets of TensorFlow."""

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
AHEAD = 4  # batches decoded in advance
_PROGRESS_S = 20.0  # between two lines of progress
_ALIGNED_BYTES = 64  # as TensorFlow's kernels require of memory


class Reader:
    """Reads one part's images from files, in any order.

    Args:
        labels: class numbers, int32 (rows,).
        shape: (height, width, channels) that each image is decoded to.
        class_names: by class number; empty if they have none.
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
        """All images as one uint8 tensor (rows, height, width, channels) in host memory.

        The memory is not doubled, not even for a moment.

        Raises:
            DataError: naming all images that cannot be decoded.
        """
        import tensorflow as tf

        memory = np.empty(self.size_bytes + _ALIGNED_BYTES, np.uint8)
        start = -memory.ctypes.data % _ALIGNED_BYTES
        images = memory[start : start + self.size_bytes].reshape(len(self.labels), *self.shape)
        with self.blaming():
            self.fill(images)
        return tf.experimental.dlpack.from_dlpack(images.__dlpack__())  # no copy

    def fill(self, images: NDArray[Any]) -> None:
        """Decode all images into an array of their shape, uint8."""
        first = 0
        last_line_s = time.monotonic()
        for batch in self.single(np.arange(len(self.labels), dtype=np.int32)).batch(AT_ONCE):
            images[first : first + len(batch)] = batch.numpy()
            first += len(batch)
            if time.monotonic() - last_line_s > _PROGRESS_S:
                last_line_s = time.monotonic()
                say("decoded {:,} of {:,} images".format(first, len(self.labels)))

    @contextlib.contextmanager
    def blaming(self) -> Iterator[None]:
        """A context that turns the failure to read an image into a `DataError` with all names."""
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
        """The images that cannot be read, by name; the first few with the reason."""
        import tensorflow as tf

        rows = np.arange(len(self.labels), dtype=np.int32)
        numbers = tf.data.Dataset.from_tensor_slices(rows)
        numbered = tf.data.Dataset.zip((numbers, self.single(rows)))
        bad_rows = set(rows.tolist())
        for row, _ in numbered.apply(tf.data.experimental.ignore_errors()):
            bad_rows.remove(int(row))
        problems: List[str] = []
        for row in sorted(bad_rows):
            reason = ""
            if len(problems) < image_folder.SHOWN:  # each one needs its own dataset
                reason = self._reason(row)
            problems.append("{}: {}".format(self.name(row), reason))
        return problems

    def _reason(self, row: int) -> str:
        """Why a row's image cannot be read; empty if it can."""
        import tensorflow as tf

        try:
            next(iter(self.single(np.array([row], np.int32))))
        except tf.errors.OpError as error:
            return str(error.message).split("\n")[0][:200]
        return ""


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
    """A dataset with a thread for each CPU that this process may use; the order stays."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = cpus()
    options.deterministic = True
    return dataset.with_options(options)


def shortened(problems: List[str]) -> List[str]:
    """The first of many problems, and how many more there are."""
    more = len(problems) - image_folder.SHOWN
    if more <= 0:
        return problems
    return [*problems[: image_folder.SHOWN], "... and {:,} more".format(more)]
