"""The files that a Python's imports rest on, and whether they are still what they were."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

# Size, mtime and ctime in nanoseconds (no copy or installer sets the latter); None where there is no such file
Stamp = list[int] | None


def loaded_files() -> list[str]:
    """What this process has loaded, and what decides what an import finds.

    These are its modules and libraries, the folders of sys.path (a package that comes or goes changes their
    time) with their .pth files, a virtual environment's file, and the modulefiles that made the environment.
    """
    files = {sys.executable, os.path.join(sys.prefix, "pyvenv.cfg"), *_libraries(), *_modulefiles()}
    for folder in sys.path:
        files.update([folder, *_path_files(folder)])
    for module in list(sys.modules.values()):
        files.add(getattr(module, "__file__", None) or "")
    return sorted(file for file in files if os.path.isabs(file))


def stamps(files: Iterable[str]) -> dict[str, Stamp]:
    """What tells whether files were changed: one that was written or replaced has another stamp."""
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> Stamp:
    try:
        seen = os.stat(file)
    except (OSError, ValueError):
        return None
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]


def _path_files(folder: str) -> Iterator[str]:
    """The files in a folder of packages that add folders to sys.path, or run when Python starts."""
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            if name.endswith(".pth"):
                yield os.path.join(folder, name)


def _libraries() -> Iterator[str]:
    """The shared libraries, and Python itself, as Linux tells."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                _, slash, rest = line.rstrip("\n").partition("/")
                if slash:
                    yield f"/{rest}"
    except OSError:
        return


def _modulefiles() -> Iterator[str]:
    """The modulefiles that are loaded, and their folders, where a site says which is the default one."""
    for file in os.environ.get("_LMFILES_", "").split(":"):
        yield file
        yield os.path.dirname(file)
