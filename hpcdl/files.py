"""Reads and writes small files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcdl.contract.atomic import replacing
from hpcdl.oserrors import is_full


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a text file as a whole: a reader sees the old content or the new one.

    Args:
        path: the file.
        text: its content; parts may come from paths that are not UTF-8.
        mode: the file's permissions.
    """
    with naming(path):
        # Not a process's number in the name: two hosts may write here at once
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        with replacing(str(path), aside) as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))  # a path need not be UTF-8
            os.chmod(aside, mode)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError from inside this block names the path, whatever its cause.

    ``write`` names no file if a disk is full, and a copy may name its source.
    """
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes. An OSError names the file that could not be read, or written."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        if error.filename is None or is_full(error):
            error.filename, error.filename2 = str(target), None
        raise


def write_json(path: Path, value: Any) -> None:
    """Write value as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if it is missing, damaged or not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # the last if it is nested a thousand deep
        return None
    return value if isinstance(value, dict) else None


def append_json_line(path: Path, value: dict[str, Any]) -> None:
    """Append one line of JSON to a log and sync it; on a full disk nothing is added.

    Raises:
        OSError: it cannot be written.
    """
    line = (json.dumps(value, sort_keys=True) + "\n").encode()
    with naming(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _append(handle, line)
        finally:
            os.close(handle)


def _append(handle: int, line: bytes) -> None:
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        line = b"\n" + line  # a crash left half a line
    try:
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, without lines that are cut off or damaged."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    objects = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            objects.append(value)
    return objects


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def nobody_else_writes() -> Iterator[None]:
    """Files created inside this block are not group- or world-writable, whatever the umask."""
    usual = os.umask(0o022)
    os.umask(usual | 0o022)
    try:
        yield
    finally:
        os.umask(usual)


def others_could_write(path: Path) -> str | None:
    """Why a file or folder may not be this user's own work; None if it is, or if it is missing.

    An ACL counts, too: the mode's group bits tell what it lets others do at most (acl(5)).
    """
    try:
        state = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(state.st_mode):
        return "is a link"
    if state.st_uid != os.geteuid():
        return f"belongs to user {state.st_uid}, not to {os.geteuid()}"
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written by others (mode {stat.S_IMODE(state.st_mode):o})"
    return None


def close_to_others(folder: Path) -> None:
    """Take the write bits of group and others from one of our folders, and from all below it.

    A default ACL on the folder above sets them, whatever the umask (acl(5)). On a file with an ACL
    the group bits are the mask: this limits every named user and group, too.
    """
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
