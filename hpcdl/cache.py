"""Caches answers that take long to get, for one user. Nothing fails without the cache."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcdl.files import others_could_write, sha256_file, write_text
from hpcdl.oserrors import reason

_SHA256 = "sha256.json"
_REMEDY = "XDG_CACHE_HOME can name another folder"

_in_memory: dict[str, dict[str, Any]] = {}  # what could not be stored, for this process alone
_complaints: list[str] = []  # lines on stderr; one is enough


def load(name: str) -> dict[str, Any]:
    """The object stored under a name.

    Args:
        name: a file name, such as ``images.json``.

    Returns:
        the object; empty if nothing is stored, or it cannot be read or is damaged.
    """
    if name in _in_memory:
        return _in_memory[name]
    try:
        value = json.loads((_trusted(folder()) / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        _go_without("read", error)
        return {}
    except (ValueError, RecursionError):  # damaged: the next `store` replaces it
        return {}
    return value if isinstance(value, dict) else {}


def store(name: str, value: dict[str, Any]) -> None:
    """Store an object under a name. If that fails, this process alone remembers it."""
    try:
        write_text(_writable() / name, json.dumps(value, separators=(",", ":")))
    except OSError as error:
        _in_memory[name] = value
        _go_without("written", error)
    else:
        _in_memory.pop(name, None)


def forget(name: str) -> None:
    """Remove what is stored under a name; if that fails, this process ignores it."""
    try:
        (folder() / name).unlink(missing_ok=True)
    except OSError:
        _in_memory[name] = {}
    else:
        _in_memory.pop(name, None)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one of the user's commands in at a time. Without a cache, there is no such lock."""
    import fcntl

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # not every home folder's file system has locks
            lock = stack.enter_context((_writable() / name).open("w", encoding="utf-8"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached_sha256(path: Path) -> str:
    """The sha256 of a large file, remembered by path, size and time of change.

    Hashing an image of 8 GB takes a quarter of a minute; a submission should not.
    """
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    sums = load(_SHA256)
    if not isinstance(sums.get(key), str):
        sums = {**sums, key: sha256_file(path)}
        store(_SHA256, sums)
    return str(sums[key])


def folder() -> Path:
    """``$XDG_CACHE_HOME/hpcdl``, else ``~/.cache/hpcdl``; it need not exist.

    A relative XDG_CACHE_HOME does not count
    (https://specifications.freedesktop.org/basedir-spec/latest/).

    Raises:
        OSError: this user has no home folder.
    """
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache_home):
        return Path(cache_home, "hpcdl")
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        home = os.path.expanduser(f"~{_user_name()}")
    if not os.path.isdir(home):
        raise NotADirectoryError(f"there is no home folder {home}")
    return Path(home, ".cache", "hpcdl")


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NotADirectoryError("this user has no home folder") from None


def _writable() -> Path:
    """The cache's folder, made if need be, readable by nobody else."""
    path = folder()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _trusted(path)


def _trusted(path: Path) -> Path:
    """The folder itself, if others cannot put answers into it.

    Raises:
        PermissionError: they can.
    """
    why = others_could_write(path.resolve())
    if why:
        raise PermissionError(f"{path} {why}")
    return path


def _go_without(verb: str, error: OSError) -> None:
    if _complaints or sys.stderr is None:
        return
    try:
        where = f"cache {folder()}"
    except OSError:
        where = "cache"
    line = f"hpcdl's {where} cannot be {verb} ({reason(error)}): going on without it; {_REMEDY}"
    _complaints.append(line)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
