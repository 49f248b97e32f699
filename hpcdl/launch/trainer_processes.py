"""What a trainer's processes do now, as /proc shows them, and where: their stacks on request."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from hpcdl.launch.processes import handles, processes_below, status_of_process

_TRAINER = b"hpcdl.trainer"


def is_suspended(pid: int) -> bool:
    """Whether a process, or one that it started, is stopped: by scontrol suspend, a debugger."""
    for each_pid in processes_below(pid):
        status = status_of_process(each_pid)
        if status is not None and status.get("State", "")[:1] in ("T", "t"):
            return True
    return False


def waits_for_disk(pid: int) -> bool:
    """Whether a thread of a process, or of one that it started, waits for a file system.

    Such a wait cannot be interrupted: state D of proc(5). A look at a moment says little; of a
    program that has been silent for minutes it says where to look.
    """
    for each_pid in processes_below(pid):
        with suppress(OSError):
            for thread in Path(f"/proc/{each_pid}/task").iterdir():
                fields = (thread / "stat").read_bytes().rpartition(b")")[2].split()
                if fields[:1] == [b"D"]:
                    return True
    return False


def ask_for_stacks(pid: int) -> None:
    """Let the trainer's processes write the stacks of their threads into the log.

    No other process gets the signal: it would end squashfuse, and with it the image's files.

    Args:
        pid: the process that launch started.
    """
    for each_pid in processes_below(pid):
        status = status_of_process(each_pid)
        if status is None or not handles(status, signal.SIGUSR1):
            continue
        with suppress(OSError):
            words = Path(f"/proc/{each_pid}/cmdline").read_bytes().split(b"\0")
            if b"python" in os.path.basename(words[0]) and _TRAINER in words:
                os.kill(each_pid, signal.SIGUSR1)
