"""Files that only grow, each with its sha256 so far: what a kill left is gone on with, or known to be damaged."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

_AT_ONCE_BYTES = 1 << 18  # of one read, small enough to stay in a processor's cache


class GoneError(Exception):
    """A file is not what it was when its state was kept."""


class GrowingFile:
    """A file that is written from its beginning to its end.

    Args:
        path: the file; made anew, unless there is a state.
        state: what `state` gave for it before: what was written after that is cut off.

    Raises:
        GoneError: what the state tells of is not there.
    """

    def __init__(self, path: Path, state: dict[str, Any] | None = None) -> None:
        self.path, self.rows, self.bytes = path, 0, 0
        self._digest = hashlib.sha256()
        if state is None:
            self._stream = path.open("w+b")
            return
        try:
            self._stream = path.open("r+b")
        except FileNotFoundError as error:
            raise GoneError(str(path)) from error
        self._hash(state["bytes"])
        if (self.bytes, self._digest.hexdigest()) != (state["bytes"], state["sha256"]):
            self._stream.close()
            raise GoneError(str(path))
        self._stream.truncate(self.bytes)
        self.rows = state["rows"]

    def add(self, content: bytes, rows: int = 0) -> None:
        """Write at the end."""
        self._stream.write(content)
        self._digest.update(content)
        self.bytes += len(content)
        self.rows += rows

    def adopt(self, begin: int, count: int, rows: int) -> None:
        """Take in bytes that another process wrote to the file, at its end or beyond: they move up to its end.

        Raises:
            OSError: they are not there.
        """
        self._stream.flush()
        handle, end = self._stream.fileno(), begin + count
        memory = memoryview(
            bytearray(min(_AT_ONCE_BYTES, count))
        )  # once: new memory for each block takes longer
        while begin < end:
            block = memory[: os.preadv(handle, [memory[: end - begin]], begin)]
            if not block:
                raise OSError(errno.EIO, "what was written is not there", str(self.path))
            if begin != self.bytes:
                os.pwrite(handle, block, self.bytes)
            self._digest.update(block)
            self.bytes += len(block)
            begin += len(block)
        self._stream.seek(self.bytes)
        self.rows += rows

    def end(self, content: bytes) -> None:
        """Cut off what nobody took in, and write over the beginning."""
        self._stream.flush()
        self._stream.truncate(self.bytes)
        self._stream.seek(0)
        if self._stream.read(len(content)) == content:
            self._stream.seek(0, os.SEEK_END)
            return
        self._stream.seek(0)
        self._stream.write(content)
        self._hash(self.bytes)

    def state(self) -> dict[str, Any]:
        """What is in the file now, for the system, not yet for the disk."""
        if not self._stream.closed:
            self._stream.flush()
        return {
            "name": self.path.name,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self._digest.hexdigest(),
        }

    def close(self) -> None:
        """Have it all on disk."""
        if self._stream.closed:
            return
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
        finally:
            self._stream.close()

    def _hash(self, most: int) -> None:
        """Read it again from its beginning, at most so many bytes."""
        self._stream.flush()
        self._stream.seek(0)
        self._digest, self.bytes = hashlib.sha256(), 0
        while block := self._stream.read(min(1 << 20, most - self.bytes)):
            self._digest.update(block)
            self.bytes += len(block)
