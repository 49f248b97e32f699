"""What the kernel says of an attempt's memory: the processes it killed for want of it, and the most that one used."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def oom_kills() -> int | None:
    """How many processes of this process's cgroup the kernel has killed for memory; None where it does not say.

    Sources: Documentation/admin-guide/cgroup-v2.rst (memory.events) and cgroup-v1/memory.rst
    (memory.oom_control) of the Linux kernel. A kill for want of memory on the whole node counts too.
    """
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            counts = _CGROUPS / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            counts = _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        for count in _lines(counts):
            name, _, number = count.partition(" ")
            if name == "oom_kill":
                return int(number)
    return None


def peak_memory_gb() -> float:
    """The most memory (GB of 1024^3 bytes) that one process started from here, and ended by now, had at a time."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux: getrusage(2)
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1024**3, 2)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
