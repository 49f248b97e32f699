"""Reads a folder's images in order with Pillow: the same pixels, without waiting for TensorFlow."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Deque, Iterator, List, Optional, Tuple

import numpy as np

from hpcdl.contract.machine import cpus
from hpcdl.contract.new_images import Image, look
from hpcdl.trainer.dataset import pillow
from hpcdl.trainer.predict.stream import Block, Stream

_AHEAD = 2  # blocks that are decoded in advance


class PillowStream(Stream):
    """The images of a list of files, block by block; see `Stream`.

    A file that Pillow cannot decode is given to TensorFlow, which has the last word.
    """

    def blocks(self, first: int) -> Iterator[Tuple[int, Block]]:
        """The blocks from one on, each with its number from 0."""
        size = self._block_files
        waiting: Deque[Tuple[int, range, List[Future[Any]]]] = deque()
        with ThreadPoolExecutor(cpus()) as pool:
            try:
                for number in range(first, -(-self.files // size)):
                    files = range(number * size, min((number + 1) * size, self.files))
                    waiting.append((number, files, [pool.submit(self._read, row) for row in files]))
                    if len(waiting) > _AHEAD:
                        yield self._finished(*waiting.popleft())
                while waiting:
                    yield self._finished(*waiting.popleft())
            finally:
                for _, _, reading in waiting:
                    for future in reading:
                        future.cancel()

    def one(self, row: int) -> Any:
        """One image, uint8 (height, width, channels), or why it cannot be used."""
        _, pixels = self._read(row)
        return super().one(row) if pixels is None else pixels

    def _read(self, row: int) -> Tuple[Any, Optional[Any]]:
        """What the head of a file tells, and its pixels; None if Pillow cannot decode them."""
        path = self._paths[row]
        head = look(path, self._shape)
        if not isinstance(head, Image):
            return head, None
        try:
            return head, pillow.read_pixels(path, head.orientation, self._shape)
        except pillow.UnusableImageError:
            return head, None

    def _finished(self, number: int, files: range, reading: List[Future[Any]]) -> Tuple[int, Block]:
        rows, images = [], [np.empty((0, *self._shape), np.uint8)]
        for row, future in zip(files, reading):
            head, pixels = future.result()
            self._looks[row] = head
            if pixels is None and isinstance(head, Image):
                answer = super().one(row)
                pixels = None if isinstance(answer, str) else answer
            if pixels is not None:
                rows.append(row)
                images.append(pixels[None])
        return number, self._block(files, rows, np.concatenate(images))
