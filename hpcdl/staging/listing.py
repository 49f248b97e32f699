"""A fingerprint of a folder, cheap enough for each submission: names and sizes of its files."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hpcdl.contract.file_names import is_system
from hpcdl.contract.image_walk import is_folder

_THREADS = 16  # a parallel file system answers slowly, but many questions at once
# The first files show whether it is slow, by the mean seconds for each
_FIRST, _SLOW_S = 100, 0.0002
_BUDGET_S = 30.0  # a submission must not wait longer


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Args:
        sha256: of a line for each file, ``path TAB bytes``, sorted by the bytes of the path. Times
            do not count, so that a copy has the same one. Contents do not count either.
        files: how many files there are.
        bytes: of all files together.
    """

    sha256: str
    files: int
    bytes: int


def list_files(folder: str, budget_s: float = _BUDGET_S) -> Listing | None:
    """List a folder's files as they are read for training: with links, without system files.

    Memory is that of the largest folder within it.

    Returns:
        None if it takes longer than the budget, in seconds.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    files = total = 0
    deadline = time.monotonic() + budget_s
    for path, size in _below(os.fsencode(folder), b"", ()):
        digest.update(b"%b\t%d\n" % (path, size))
        files, total = files + 1, total + size
        if time.monotonic() > deadline:
            return None
    return Listing(digest.hexdigest(), files, total)


def _below(
    root: bytes, place: bytes, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[bytes, int]]:
    """The path and size of each file below a place, in the order of the paths."""
    path = os.path.join(root, place)
    about = os.stat(path)
    here = (about.st_dev, about.st_ino)
    if here in above:  # a link in a circle
        return
    with os.scandir(path) as entries:
        listed = [entry for entry in entries if not is_system(os.fsdecode(entry.name))]
    listed.sort(key=_order)
    for entry, size in zip(listed, _sizes(listed), strict=True):
        inner = os.path.join(place, entry.name)
        if is_folder(entry):
            yield from _below(root, inner, (*above, here))
        elif size is not None:
            yield inner, size


def _order(entry: os.DirEntry[bytes]) -> bytes:
    """A key that puts the paths below a folder where the sorted list of all paths has them."""
    return entry.name + b"/" if is_folder(entry) else entry.name


def _sizes(entries: list[os.DirEntry[bytes]]) -> list[int | None]:
    """The size of each regular file, in bytes; None for other entries."""
    begin = time.perf_counter()
    sizes = [_size(entry) for entry in entries[:_FIRST]]
    if time.perf_counter() - begin > len(sizes) * _SLOW_S:
        with ThreadPoolExecutor(_THREADS) as pool:
            sizes += pool.map(_size, entries[_FIRST:])
    else:  # where files are near, threads only wait for each other
        sizes += map(_size, entries[_FIRST:])
    return sizes


def _size(entry: os.DirEntry[bytes]) -> int | None:
    if is_folder(entry):
        return None
    try:
        about = entry.stat()
    except OSError:
        if os.path.exists(entry.path):
            raise
        return None  # a link whose target does not exist
    return about.st_size if stat.S_ISREG(about.st_mode) else None
