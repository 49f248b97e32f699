"""What the kernel reports of an attempt's memory: processes that it killed, and peak use."""

from __future__ import annotations

import os
import resource
import sys

from hpcdl.contract.cgroups import lines_of, memory_groups


def oom_kills() -> int | None:
    """How many processes of this process's control group the kernel killed for lack of memory.

    A kill because the whole node lacks memory counts, too.

    Returns:
        None if the kernel does not tell.
    """
    for group in memory_groups():
        for line in lines_of(os.path.join(group.folder(), group.events_file)):
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return None


def peak_memory_gb() -> float:
    """The most memory that one process had which this one started and which has ended.

    Returns:
        in GB of 1024^3 bytes.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux: getrusage(2)
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return round(peak_bytes / 1024**3, 2)
