"""Makes a file or folder next to its place, in one process alone, and moves it there when done."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hpcdl.staging.checksums import write_sums

_LOCK = "lock"
_OLD = "old"  # what is replaced lies here for the moment between two renames


@dataclass(frozen=True)
class Progress:
    """Progress callbacks.

    Args:
        say: called with a line for people.
        tell: called with a file's name, the bytes that it has, and how many it will have, or None
            if that is not known.
    """

    say: Callable[[str], None] = lambda text: None
    tell: Callable[[str, int, int | None], None] = lambda file, done, total: None


@contextmanager
def alone(target: Path, keeps: bool, progress: Progress) -> Iterator[Path]:
    """A folder next to the target to make it in, for this process alone.

    Args:
        target: the file or folder that will be moved in.
        keeps: whether the content of the folder stays after an error, for the next attempt.
        progress: told if another process uses the folder, which is waited for.
    """
    aside = target.with_name(f".{target.name}.staging")
    handle = _lock(aside, target.name, progress)
    keeps_now = keeps
    try:
        if not keeps:
            clear(aside)
        yield aside
        keeps_now = False
    finally:
        if not keeps_now or not _holds_files(aside):
            shutil.rmtree(aside, ignore_errors=True)
        os.close(handle)


def _lock(aside: Path, name: str, progress: Progress) -> int:
    """Make the folder and lock it for this process.

    The lock goes with the folder. A file that stayed in data_root would belong to one user, and
    lock out all others; a folder cannot be locked on NFS. So another process may remove the folder
    between any two steps here, and then this one starts again.

    Returns:
        the lock's descriptor; the lock ends when it is closed, or with the process.
    """
    lock = aside / _LOCK
    while True:
        aside.mkdir(exist_ok=True)
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue
        _wait_for(handle, name, progress)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        os.close(handle)


def _wait_for(handle: int, name: str, progress: Progress) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress.say(f"another hpcdl is staging {name}; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks: there, checksums tell if two wrote at once


def _holds_files(aside: Path) -> bool:
    """Whether the folder holds a file besides its lock."""
    return any(path.is_file() and path != aside / _LOCK for path in aside.rglob("*"))


def clear(aside: Path) -> None:
    """Remove what an earlier attempt left in the folder of `alone`."""
    for path in aside.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def move_in(target: Path, aside: Path, sums: dict[str, str], source: str) -> None:
    """Put files where jobs look, checksums first.

    A reader finds both, or an old set with the new checksums.

    Args:
        target: the file or folder that jobs look for.
        aside: where they were made, each with the place that it will have next to the target.
        sums: the sha256 of each, by its place.
        source: where they come from.
    """
    for name in sums:
        path = aside / name
        if not path.is_symlink():
            path.chmod(0o644)
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    write_sums(target, sums, source)
    if (aside / target.name).is_dir():
        (aside / target.name).chmod(0o755)
        shutil.rmtree(aside / _OLD, ignore_errors=True)
        if target.is_dir():
            os.replace(target, aside / _OLD)
        os.replace(aside / target.name, target)
        return
    for name in sums:
        os.replace(aside / name, target.parent / name)
