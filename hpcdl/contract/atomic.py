"""Replaces files as a whole: written next to their place, synced to disk, and renamed."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO, Iterator, Optional


@contextlib.contextmanager
def replacing(path: str, aside: Optional[str] = None) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of a file: a reader sees the old one or the new one.

    The new file survives a crash of the machine. If the block raises, the old file stays and
    nothing else is left.

    Args:
        path: the file to replace or to make.
        aside: where the content is written first, on the same file system; None for the file's
            name with this process's number and ``.tmp``.

    Raises:
        OSError: it cannot be written.
    """
    if aside is None:
        aside = "{}.{}.tmp".format(path, os.getpid())
    try:
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(aside)
        raise


def replace(path: str, content: bytes) -> None:
    """Write a whole file, as `replacing` does.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


def replace_with(path: str, aside: str) -> None:
    """Give a file that another library wrote its name, once it is on disk.

    Args:
        path: the file to replace or to make.
        aside: the whole file, on the same file system.

    Raises:
        OSError: it cannot be synced or renamed.
    """
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)
