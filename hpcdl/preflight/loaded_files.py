"""The files that a Python's imports depend on, and whether they have changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

# Size, mtime and ctime in nanoseconds (copies and installers cannot set ctime); None if the file
# does not exist
Stamp = list[int] | None


def loaded_files() -> list[str]:
    """The files that this process has loaded, and those that decide what an import finds.

    These are its modules and libraries, the folders of sys.path (a new or removed package changes
    a folder's time) with their .pth files, the file of a virtual environment, and the modulefiles
    that made the environment.
    """
    files = {sys.executable, os.path.join(sys.prefix, "pyvenv.cfg"), *_libraries(), *_modulefiles()}
    for folder in sys.path:
        files.update([folder, *_path_files(folder)])
    for module in list(sys.modules.values()):
        files.add(getattr(module, "__file__", None) or "")
    return sorted(file for file in files if os.path.isabs(file))


def stamps(files: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of files. A file that was written or replaced has another stamp."""
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> Stamp:
    try:
        stat = os.stat(file)
    except (OSError, ValueError):
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _path_files(folder: str) -> Iterator[str]:
    """The files in a folder of packages that add folders to sys.path, or run when Python starts."""
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            if name.endswith(".pth"):
                yield os.path.join(folder, name)


def _libraries() -> Iterator[str]:
    """The shared libraries of this process, and Python itself, by Linux's list."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                _, slash, rest = line.rstrip("\n").partition("/")
                if slash:
                    yield f"/{rest}"
    except OSError:
        return


def _modulefiles() -> Iterator[str]:
    """The loaded modulefiles, and their folders, where a file names the default version."""
    for file in os.environ.get("_LMFILES_", "").split(":"):
        yield file
        yield os.path.dirname(file)
