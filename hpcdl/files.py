"""Reading and writing small files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write text beside path, then rename: a reader sees the old file or the new one."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(aside, mode)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write value as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is no (whole) one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # the last where it is nested a thousand deep
        return None
    return value if isinstance(value, dict) else None


def append_json_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line of JSON to a log, on disk before this returns; on a full disk nothing is added.

    Raises:
        OSError: it cannot be written.
    """
    line = (json.dumps(value, sort_keys=True) + "\n").encode()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # a crash left half a line
        try:
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a line that is cut off or damaged is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cached_sha256(path: Path) -> str:
    """The sha256 of a large file, remembered for this user by path, size and time of change.

    Hashing an image of 8 GB takes a quarter of a minute; a submission should not.
    """
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    store = cache_folder() / "sha256.json"
    known = read_json(store) or {}
    if key not in known:
        known[key] = sha256_file(path)
        write_json(store, known)
    return str(known[key])


def cache_folder() -> Path:
    """The user's own cache folder for hpcdl, made if need be, readable by nobody else."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base, "hpcdl")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextlib.contextmanager
def nobody_else_writes() -> Iterator[None]:
    """What is made meanwhile cannot be written by group or others, also where the user's umask would let them."""
    usual = os.umask(0o022)
    os.umask(usual | 0o022)
    try:
        yield
    finally:
        os.umask(usual)


def others_could_write(path: Path) -> str | None:
    """Why a file or folder may not be this user's own work; None where it is, or where there is none.

    An ACL is seen, too: what it lets others do at most stands in the mode's group bits (acl(5)).
    """
    try:
        seen = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(seen.st_mode):
        return "is a link"
    if seen.st_uid != os.geteuid():
        return f"belongs to user {seen.st_uid}, not to {os.geteuid()}"
    if seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written by others (mode {stat.S_IMODE(seen.st_mode):o})"
    return None
