"""On which file system a path lies, by Linux's table of mounts."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = "an unknown file system"


def file_system_of(path: str | Path) -> str:
    """The type of the file system that a path lies on, such as ``nfs4``, ``gpfs`` or ``lustre``.

    Source of the table's form: https://man7.org/linux/man-pages/man5/proc_pid_mounts.5.html
    """
    try:
        text = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return UNKNOWN
    real_path = os.path.realpath(path)
    longest_point, file_system = "", UNKNOWN
    for line in text.splitlines():
        _, written_point, kind, *_ = line.split(" ")
        point = written_point.replace(r"\040", " ")
        if Path(real_path).is_relative_to(point) and len(point) >= len(longest_point):
            longest_point, file_system = point, kind
    return file_system
