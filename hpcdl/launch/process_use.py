"""What a program and all that it started use: CPU time, memory, bytes; from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpcdl.launch.processes import processes_below

_PROC = Path("/proc")
# Of the fields of proc(5)'s stat behind the program's name, which is in brackets
_TIMES = slice(11, 15)  # utime, stime, cutime, cstime: the last two of children that have ended
_PAGES = 21  # rss


@dataclass(frozen=True)
class ProcessUse:
    """What processes have used until now.

    Args:
        cpu_s: CPU seconds, also of those that have ended and were waited for.
        memory_b: bytes of memory; what they share counts for each.
        read_b: bytes that they read, from disks, the cache or pipes; None if that is not told.
        written_b: bytes that they wrote, likewise.
    """

    cpu_s: float
    memory_b: int
    read_b: int | None
    written_b: int | None = None


def use_of_tree(root: int) -> ProcessUse | None:
    """What a process and all below it have used; None if it has ended, or /proc is missing.

    A control group would tell it, too, but not every site gives each job its own.

    Args:
        root: the first process's pid.
    """
    ticks = pages = 0
    read_b: int | None = None
    written_b: int | None = None
    is_there = False
    for pid in processes_below(root):
        with suppress(OSError, ValueError, IndexError):
            text = (_PROC / str(pid) / "stat").read_bytes()
            fields = text.rpartition(b")")[2].split()
            ticks += sum(map(int, fields[_TIMES]))
            pages += int(fields[_PAGES])
            is_there = True
        with suppress(OSError, ValueError):  # a container's starter may be closed to us
            read, written = _bytes_of(pid)
            read_b, written_b = (read_b or 0) + read, (written_b or 0) + written
    if not is_there:
        return None
    cpu_s = ticks / os.sysconf("SC_CLK_TCK")
    return ProcessUse(cpu_s, pages * os.sysconf("SC_PAGE_SIZE"), read_b, written_b)


def _bytes_of(pid: int) -> tuple[int, int]:
    """The bytes that a process has read and written: ``rchar``, ``wchar`` of proc(5)'s io."""
    counts = {b"rchar": 0, b"wchar": 0}
    for line in (_PROC / str(pid) / "io").read_bytes().splitlines():
        name, _, value = line.partition(b": ")
        if name in counts:
            counts[name] = int(value)
    return counts[b"rchar"], counts[b"wchar"]
