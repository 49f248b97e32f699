"""What a node shows to a program in the container, without TensorFlow: GPUs, scratch, data.

Every value is taken by itself: what is missing has an ``error`` and hides nothing else.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Dict, Iterator, List, Optional, Tuple

from hpcdl.trainer.files.rundir import write_json

_VARIABLES = re.compile("SLURM_.*|CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES")
_MB = 1 << 20
_SCRATCH_MB = 64
_MOST_READ_MB = 256
_READS_S = 3.0
_MOST_ENTRIES = 2000  # of data_root; a look at all of a large one takes minutes
_CLOSED = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP)
_SMI_S = 30.0
_CUDA_OF_DRIVER = re.compile(r"CUDA Version: *([0-9.]+)")


def node_facts(started: float) -> Dict[str, Any]:
    """What the node shows, as `hpcdl.contract.probe.SITE_FILE` holds it.

    Args:
        started: when the program began (unix time).
    """
    return {
        "started": started,
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "python": platform.python_version(),
        "variables": {
            name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)
        },
        "scratch": _scratch(os.environ.get("TMPDIR", "/tmp")),  # noqa: S108 - the node's own
        "data_root": _data_root(os.environ.get("HPCDL_DATA_ROOT", "")),
        **_driver(),
    }


def write_facts(path: str, facts: Dict[str, Any]) -> None:
    """Write the facts with the time at which they were written, by this node's clock."""
    write_json(path, dict(facts, written=time.time()))


def _driver() -> Dict[str, Any]:
    """The GPUs that the driver lists, its version, and the newest CUDA that it runs."""
    query = "--query-gpu=driver_version,name"
    lines = _printed(["nvidia-smi", query, "--format=csv,noheader"]).splitlines()
    cells = [line.partition(", ") for line in lines if ", " in line]
    newest = _CUDA_OF_DRIVER.search(_printed(["nvidia-smi"])) if cells else None
    return {
        "smi": [name for _, _, name in cells],
        "driver": cells[0][0] if cells else None,
        "driver_cuda": newest.group(1) if newest else None,
    }


def _printed(argv: List[str]) -> str:
    """What a program prints; nothing if it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_SMI_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _scratch(folder: str) -> Dict[str, Any]:
    """Whether the folder for temporary files can be written, its room, and its speed."""
    path = os.path.join(folder, "hpcdl-test")
    block = os.urandom(_MB)
    try:
        free = shutil.disk_usage(folder).free
        started = time.perf_counter()
        with open(path, "wb") as file:
            for _ in range(_SCRATCH_MB):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        seconds = time.perf_counter() - started
    except OSError as error:
        return {"error": error.strerror or str(error)}
    finally:
        with suppress(OSError):
            os.remove(path)
    return {
        "free_gb": free / 1e9,
        "mb_per_s": _SCRATCH_MB / max(seconds, 1e-6),
        "kind": _file_system(folder),
    }


def _file_system(folder: str) -> Optional[str]:
    """The type of the file system of a folder."""
    best, kind = "", None
    with suppress(OSError), open("/proc/mounts", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if os.path.realpath(folder).startswith(words[1]) and len(words[1]) >= len(best):
                best, kind = words[1], words[2]
    return kind


def _data_root(folder: str) -> Dict[str, Any]:
    """Whether staged data can be read, and how fast: some megabytes of its largest files."""
    closed: List[str] = []
    try:
        os.listdir(os.path.join(folder, os.curdir))  # which needs the right to go into it, too
        files = sorted(_files(folder, closed), reverse=True)
        read = 0
        started = time.perf_counter()
        for _, path in files:
            if read >= _MOST_READ_MB * _MB or time.perf_counter() - started >= _READS_S:
                break
            with _noted(closed, path):
                read += _read(path, _MOST_READ_MB * _MB - read, started + _READS_S)
        seconds = time.perf_counter() - started
    except OSError as error:
        where = os.path.normpath(error.filename or folder)
        return {"error": "{}: {}".format(where, error.strerror)}
    speed = read / _MB / max(seconds, 1e-6) if read else None
    return {"read_mb": read / _MB, "mb_per_s": speed, "closed": len(closed)}


def _read(path: str, most: int, end: float) -> int:
    """Read a file, up to a number of bytes and a time of time.perf_counter; how many it read."""
    read = 0
    with open(path, "rb", buffering=0) as file:
        while read < most and time.perf_counter() < end:
            block = file.read(4 * _MB)
            if not block:
                break
            read += len(block)
    return read


@contextmanager
def _noted(closed: List[str], path: str) -> Iterator[None]:
    """Go on after what others keep for themselves, or have just removed."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
        closed.append(path)


def _files(folder: str, closed: List[str]) -> Iterator[Tuple[int, str]]:
    """The size and the path of the files of a folder and of those in it, up to a number of them.

    Args:
        folder: the folder.
        closed: gets the paths that cannot be looked at.

    Raises:
        OSError: the file system fails.
    """
    folders, left = [folder], _MOST_ENTRIES
    while folders and left > 0:
        inner = folders.pop(0)
        entries: List[os.DirEntry[str]] = []
        with _noted(closed, inner), os.scandir(inner) as listing:
            entries = list(islice(listing, left))
        left -= len(entries)
        for entry in entries:
            size = None
            with _noted(closed, entry.path):
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.is_file():
                    size = entry.stat().st_size
            if size is not None:
                yield size, entry.path
