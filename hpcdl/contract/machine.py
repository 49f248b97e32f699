"""What this process may use of the machine: CPUs, and memory for decoded images."""

from __future__ import annotations

import os
from typing import List

from hpcdl.contract.cgroups import lines_of, memory_groups

SHARE = 0.5  # of the memory, for images: the rest is for TensorFlow, the model and what reads


def cpus() -> int:
    """The number of CPUs that this process may use; a batch system gives a share of the node.

    On macOS, the number of CPUs of the machine: it does not tell more.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_bytes() -> int:
    """The memory that this process may use, in bytes.

    The least of what the job asks for (HPCDL_MEMORY_GB, in units of 1024^3 bytes), the limits of
    the control groups, and the memory of the machine.
    """
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [machine_bytes, *_group_limits()]
    requested_gb = os.environ.get("HPCDL_MEMORY_GB", "")
    if requested_gb:
        limits.append(int(float(requested_gb) * 1024**3))
    return min(limits)


def _group_limits() -> List[int]:
    """The limits of this process's control groups and of those above them, in bytes."""
    limits = []
    for group in memory_groups():
        for folder in group.folders():
            text = "".join(lines_of(os.path.join(folder, group.limit_file)))
            if text.strip().isdigit():  # not "max"
                limits.append(int(text))
    return limits


def fits(size_bytes: int) -> bool:
    """Whether images of this size can be held in memory next to everything else."""
    return size_bytes <= SHARE * limit_bytes()
