"""What this process may use of the machine that it runs on."""

from __future__ import annotations

import os


def cpus() -> int:
    """The CPUs that this process may use. macOS tells only how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
