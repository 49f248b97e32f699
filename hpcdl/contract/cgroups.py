"""The control groups of this process that count memory, of both versions of the kernel's interface.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the Linux kernel.
"""

from __future__ import annotations

import os
from typing import List, NamedTuple

_OWN = "/proc/self/cgroup"
_ROOT = "/sys/fs/cgroup"


class MemoryGroup(NamedTuple):
    """A control group that this process is in.

    root: where the group's hierarchy is mounted.
    path: the group's place below it.
    limit_file: the file of a group with its limit in bytes; without one it says ``max``.
    events_file: the file of a group with the line ``oom_kill``, a count.
    """

    root: str
    path: str
    limit_file: str
    events_file: str

    def folder(self) -> str:
        """The group's own folder."""
        return os.path.join(self.root, self.path)

    def folders(self) -> List[str]:
        """The group's folder and those of all groups above it, the own one first."""
        folders = []
        parts = self.path.split("/")
        for depth in range(len(parts), -1, -1):
            folders.append(os.path.join(self.root, *parts[:depth]))
        return folders


def memory_groups() -> List[MemoryGroup]:
    """This process's groups that count memory; none if the system has no control groups."""
    groups = []
    for line in lines_of(_OWN):
        _, controllers, path = line.split(":", 2)
        place = path.strip("/")
        if not controllers:
            groups.append(MemoryGroup(_ROOT, place, "memory.max", "memory.events"))
        elif "memory" in controllers.split(","):
            root = os.path.join(_ROOT, "memory")
            group = MemoryGroup(root, place, "memory.limit_in_bytes", "memory.oom_control")
            groups.append(group)
    return groups


def lines_of(path: str) -> List[str]:
    """The lines of one of the kernel's files; none if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
