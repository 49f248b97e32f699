"""What this process may use of the machine: CPUs, and memory, whether decoded images can wait in it."""

from __future__ import annotations

import os
from typing import List

SHARE = 0.5  # of the memory, for images: the rest is for TensorFlow, the model and what reads


def cpus() -> int:
    """The CPUs that this process may use; a batch system gives a share of the node.

    macOS tells only how many there are.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_bytes() -> int:
    """The least of what the job asked for (HPCDL_MEMORY_GB), the control group's limit and the machine's memory."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_control_groups()]
    asked = os.environ.get("HPCDL_MEMORY_GB", "")
    if asked:
        limits.append(int(float(asked) * 1024**3))
    return min(limits)


def _control_groups() -> List[int]:
    """The limits of this process's control groups, of both versions, and of those above them."""
    limits = []
    try:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return []
    for _, controllers, path in groups:
        if controllers and "memory" not in controllers.split(","):
            continue
        root = "/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup"
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        parts = path.strip("/").split("/")
        for depth in range(len(parts), -1, -1):
            try:
                with open(os.path.join(root, *parts[:depth], name), encoding="ascii") as file:
                    limits.append(int(file.read()))
            except (OSError, ValueError):  # none there, or "max"
                continue
    return limits


def fits(size_bytes: int) -> bool:
    """Whether so many bytes of images can be held beside everything else."""
    return size_bytes <= SHARE * limit_bytes()
