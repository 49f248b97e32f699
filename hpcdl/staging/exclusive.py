"""Making a file or folder beside its place, in one process alone, and moving it there when it is whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hpcdl.staging.checksums import write_sums


@dataclass(frozen=True)
class Talk:
    """Whom staging tells how far it is.

    Args:
        say: called with a line for people.
        tell: called with a file's name, its bytes that are there, and how many there will be, where that is known.
    """

    say: Callable[[str], None] = lambda text: None
    tell: Callable[[str, int, int | None], None] = lambda file, done, total: None


@contextmanager
def alone(target: Path, keeps: bool, talk: Talk) -> Iterator[Path]:
    """A folder beside target to make it in, for this process alone.

    Args:
        target: the file or folder that will be moved in.
        keeps: what is in the folder stays there on an error, for the next attempt.
        talk: who is told when another process is at it, and waited for.
    """
    aside = target.with_name(f".{target.name}.staging")
    lock = aside / "lock"
    while True:
        aside.mkdir(exist_ok=True)
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another one is done with it, just now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            talk.say(f"another hpcdl stages {target.name} just now; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: there, two at once are for the checksums to tell
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), lock.stat()):
                break
        os.close(handle)
    keep = keeps
    try:
        if not keeps:
            clear(aside)
        yield aside
        keep = False
    finally:
        if not keep or not any(path.is_file() for path in aside.rglob("*") if path != lock):
            shutil.rmtree(aside, ignore_errors=True)
        os.close(handle)


def clear(aside: Path) -> None:
    """Take away what an earlier attempt left in the folder of `alone`."""
    for path in aside.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def move_in(target: Path, aside: Path, sums: dict[str, str], source: str) -> None:
    """Put files where jobs look, checksums first: a reader finds both, or an old set with the new sums.

    Args:
        target: the file or folder that jobs look for.
        aside: where they were made, each with the place that it will have beside target.
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
        shutil.rmtree(aside / "old", ignore_errors=True)
        if target.is_dir():
            os.replace(target, aside / "old")
        os.replace(aside / target.name, target)
        return
    for name in sums:
        os.replace(aside / name, target.parent / name)
