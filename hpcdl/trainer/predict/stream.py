"""Reads a folder's images in order with the training's decoder, and says which are unusable."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

from hpcdl.contract.machine import cpus
from hpcdl.contract.new_images import Image, look
from hpcdl.trainer.dataset.decode import decode
from hpcdl.trainer.dataset.reader import quick
from hpcdl.trainer.runtime.log import quiet_import

_THREADS = 16  # a parallel file system may answer slowly, but many questions at once
_FIRST, _SLOW_S = 8, 0.001  # the first files of a block show whether it is slow, by seconds each
_AT_ONCE, _AHEAD = 32, 8  # images, and batches of them that are decoded in advance
_TURNED = "is turned upright, as its EXIF says"
_ONE_COLOUR = "has one colour only"
_MOST_LETTERS = 200  # of TensorFlow's reason
_NODES = re.compile(r"\{\{.*?\}\}|\[Op:.*?\]")  # which operation of TensorFlow's it was


class Block(NamedTuple):
    """A part of the files.

    rows: the numbers of the files that are images, in order.
    images: uint8 (rows, height, width, channels).
    notes: on each of these, joined by ``; ``.
    unusable: why the other files cannot be used, by their numbers.
    """

    rows: List[int]
    images: Any
    notes: List[str]
    unusable: Dict[int, str]


class Stream:
    """The images of a list of files, block by block, decoded ahead on all CPUs.

    Args:
        folder: the names are relative to it.
        names: of the files.
        shape: (height, width, channels) of the images.
        block_files: the files of one block.
    """

    def __init__(
        self, folder: str, names: List[str], shape: Tuple[int, ...], block_files: int
    ) -> None:
        self._paths = [os.path.join(folder, name) for name in names]
        self._shape = shape
        self._block_files = block_files
        self._looks: Dict[int, Any] = {}

    @property
    def files(self) -> int:
        """How many files there are."""
        return len(self._paths)

    def blocks(self, first: int) -> Iterator[Tuple[int, Block]]:
        """The blocks from one on, each with its number from 0."""
        size = self._block_files
        batches = iter(self._decoded(first * size))
        rows, pixels = np.empty(0, np.int64), np.empty((0, *self._shape), np.uint8)
        for block in range(first, -(-len(self._paths) // size)):
            files = range(block * size, min((block + 1) * size, len(self._paths)))
            read_rows, read_pixels = [rows], [pixels]
            while not len(read_rows[-1]) or read_rows[-1][-1] < files.stop - 1:
                batch = next(batches, None)  # it may hold the first images of the next block
                if batch is None:
                    break
                read_rows.append(batch[0].numpy())
                read_pixels.append(batch[1].numpy())
            rows, pixels = np.concatenate(read_rows), np.concatenate(read_pixels)
            count = int(np.searchsorted(rows, files.stop))
            yield block, self._block(files, rows[:count].tolist(), pixels[:count])
            rows, pixels = rows[count:], pixels[count:]

    def one(self, row: int) -> Any:
        """One image, uint8 (height, width, channels), or why it cannot be used."""
        seen = look(self._paths[row], self._shape)
        if isinstance(seen, str):
            return seen
        with quiet_import():
            import tensorflow as tf

        try:
            content = tf.io.read_file(os.fsencode(self._paths[row]))
            return decode(content, tf.constant(seen.orientation), self._shape).numpy()
        except tf.errors.OpError as error:
            reason = _NODES.sub("", str(error.message).partition("\n")[0])
            return "cannot be decoded: {}".format(reason.strip()[:_MOST_LETTERS])

    def _block(self, files: range, rows: List[int], pixels: Any) -> Block:
        unusable = {}
        notes = []
        decoded = set(rows)
        for row in files:
            seen = self._looks.pop(row)
            if row in decoded:
                notes.append(list(seen.notes))
                if seen.orientation > 1:
                    notes[-1].append(_TURNED)
            elif isinstance(seen, str):
                unusable[row] = seen
            else:
                again = self.one(row)
                unusable[row] = again if isinstance(again, str) else "could be read only later"
        for image, its_notes in zip(pixels, notes):
            if image.min() == image.max():
                its_notes.append(_ONE_COLOUR)
        return Block(rows, pixels, ["; ".join(texts) for texts in notes], unusable)

    def _decoded(self, first: int) -> Any:
        """Batches of (numbers, images) from a file on, without those that cannot be decoded."""
        import tensorflow as tf

        def decoded(number: Any, path: Any, orientation: Any) -> Any:
            return number, decode(tf.io.read_file(path), orientation, self._shape)

        files = tf.data.Dataset.from_generator(
            lambda: self._files(first),
            output_signature=(
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.string),
                tf.TensorSpec([None], tf.int32),
            ),
        )
        images = files.unbatch().map(decoded, cpus())
        left = images.apply(tf.data.experimental.ignore_errors())
        return quick(left.batch(_AT_ONCE).prefetch(_AHEAD))

    def _files(self, first: int) -> Iterator[Tuple[Any, List[bytes], Any]]:
        """The files that look like images, with their orientation: those of a block at a time."""
        for start in range(first, len(self._paths), self._block_files):
            block = range(start, min(start + self._block_files, len(self._paths)))
            rows, paths, orientations = [], [], []
            for row, answer in zip(block, self._look_at(block)):
                self._looks[row] = answer
                if isinstance(answer, Image):
                    rows.append(row)
                    paths.append(os.fsencode(self._paths[row]))
                    orientations.append(answer.orientation)
            yield np.array(rows, np.int64), paths, np.array(orientations, np.int32)

    def _look_at(self, rows: range) -> Iterator[Any]:
        """What the heads of files tell: read many at a time where that takes long."""

        def seen(row: int) -> Any:
            return look(self._paths[row], self._shape)

        started = time.perf_counter()
        yield from map(seen, rows[:_FIRST])
        if time.perf_counter() - started < _SLOW_S * _FIRST:
            yield from map(seen, rows[_FIRST:])
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(seen, rows[_FIRST:])
