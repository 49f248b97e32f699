"""When a process of this machine started, which tells it from a later one with its number."""

from __future__ import annotations

import os
from pathlib import Path


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None if it has ended, or is a zombie.

    The pid and this time together name one process for good: the kernel uses pids again.

    Source: proc(5), field 22 of stat.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():  # no /proc, as on macOS
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return "alive"
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
