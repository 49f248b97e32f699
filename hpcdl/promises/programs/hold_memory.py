"""Takes more memory than its job may have, slowly, and says so if nobody ends it."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Optional

_STEP = 50 << 20
_FIRST_S = 3.0  # a limit may be set a moment after the start
MOST = 6 << 30  # without a word of the job about memory: more would be a burden on a node
_HOLDS_S = 35.0  # SLURM looks every 30 s where no cgroup limits a job
_PATHS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")
_FILES = ("memory.limit_in_bytes", "memory.max")


def limit_of_job() -> Optional[int]:
    """The smallest limit of memory that the cgroups of this process have, in bytes."""
    limits: list[int] = []
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    for _, controllers, group in groups:
        if controllers in ("", "memory"):
            limits += limits_above(group)
    limits = [limit for limit in limits if limit < 1 << 50]  # more is no limit
    return min(limits) if limits else None


def limits_above(group: str) -> list[int]:
    """The limits of a cgroup and of those around it."""
    limits = []
    while True:
        for base in _PATHS:
            for name in _FILES:
                try:
                    with open(base + group + "/" + name, encoding="utf-8") as file:
                        limits.append(int(file.read()))
                except (OSError, ValueError):
                    continue
        if group in ("", "/"):
            return limits
        group = os.path.dirname(group)


def say(**content: object) -> None:
    """A line that the host reads."""
    sys.stdout.write(f"hpcdl: {json.dumps(content)}\n")
    sys.stdout.flush()


def main(asked: int) -> None:
    """Take half as much again as the job may have.

    Args:
        asked: bytes that the job asked for; 0 if it did not ask.
    """
    time.sleep(_FIRST_S)
    limit = limit_of_job()
    say(limit=limit, asked=asked)
    aim = max(asked, limit or 0)  # a site may give more than was asked for
    if not aim or aim > MOST:
        return
    blocks: list[bytearray] = []
    while len(blocks) * _STEP < 1.5 * aim:
        blocks.append(bytearray(b"x") * _STEP)
        time.sleep(0.02)
    say(held=len(blocks) * _STEP)
    time.sleep(_HOLDS_S)


if __name__ == "__main__":
    main(int(sys.argv[1]))
