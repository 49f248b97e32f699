"""Append-only files that hash as they grow: after a kill, writing resumes or damage is found."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

_AT_ONCE_BYTES = 1 << 18  # of one read, small enough to stay in a processor's cache


class ChangedFileError(Exception):
    """A file is not what it was when its state was saved."""


class AppendFile:
    """A file that is written from its beginning to its end.

    Args:
        path: the file.
        state: what `state` returned for it earlier: whatever was written later is cut off. None
            for a new file.

    Raises:
        ChangedFileError: the file does not have the content that the state describes.
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
            raise ChangedFileError(str(path)) from error
        self._hash(state["bytes"])
        if (self.bytes, self._digest.hexdigest()) != (state["bytes"], state["sha256"]):
            self._stream.close()
            raise ChangedFileError(str(path))
        self._stream.truncate(self.bytes)
        self.rows = state["rows"]

    def add(self, content: bytes, rows: int = 0) -> None:
        """Append bytes, which hold this number of rows."""
        self._stream.write(content)
        self._digest.update(content)
        self.bytes += len(content)
        self.rows += rows

    def adopt(self, begin: int, count: int, rows: int) -> None:
        """Append bytes that another process wrote into the file, at its end or beyond.

        Args:
            begin: where they lie; they move down to the end of the file.
            count: how many bytes.
            rows: how many rows they hold.

        Raises:
            OSError: the file does not have them.
        """
        self._stream.flush()
        handle = self._stream.fileno()
        end = begin + count
        # Allocated once: new memory for each block takes longer
        memory = memoryview(bytearray(min(_AT_ONCE_BYTES, count)))
        while begin < end:
            block = memory[: os.preadv(handle, [memory[: end - begin]], begin)]
            if not block:
                raise OSError(errno.EIO, "what was written is missing", str(self.path))
            if begin != self.bytes:
                os.pwrite(handle, block, self.bytes)
            self._digest.update(block)
            self.bytes += len(block)
            begin += len(block)
        self._stream.seek(self.bytes)
        self.rows += rows

    def end(self, content: bytes) -> None:
        """Cut off what nobody adopted, and write over the beginning of the file."""
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
        """What the file holds now. The system has it, but the disk may not have it yet."""
        if not self._stream.closed:
            self._stream.flush()
        return {
            "name": self.path.name,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self._digest.hexdigest(),
        }

    def close(self) -> None:
        """Sync the file to disk and close it."""
        if self._stream.closed:
            return
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
        finally:
            self._stream.close()

    def _hash(self, most_bytes: int) -> None:
        """Hash the file again from its beginning, at most this many bytes."""
        self._stream.flush()
        self._stream.seek(0)
        self._digest, self.bytes = hashlib.sha256(), 0
        while block := self._stream.read(min(1 << 20, most_bytes - self.bytes)):
            self._digest.update(block)
            self.bytes += len(block)
