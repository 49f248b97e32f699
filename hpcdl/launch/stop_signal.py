"""Hands the request to stop on as a signal, to a script that asked for one."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from hpcdl.planning import Plan


class StopSignal:
    """Sends the job's ``stop_signal`` once the stop file is there, once per attempt.

    It goes to the program alone: the container's starter hands it on. One that has no handler for it yet
    would end by it, so it is kept back until there is one.

    Args:
        plan: the plan, which names the signal or none.
        stop: the stop file.
    """

    def __init__(self, plan: Plan, stop: Path) -> None:
        self.number = signal.Signals[f"SIG{plan.stop_signal}"] if plan.stop_signal else None
        self.in_container = plan.image is not None
        self.stop = stop

    def look(self, pid: int) -> None:
        """Send it to the process that launch started, if it is time."""
        if (
            self.number is None
            or not self.stop.exists()
            or not _is_handled(self.number, pid, self.in_container)
        ):
            return
        with contextlib.suppress(OSError):  # it has just ended
            os.kill(pid, self.number)
        self.number = None


def _is_handled(number: int, root: int, in_container: bool) -> bool:
    """Whether the program below a process has a handler for a signal; the container's starter always has."""
    pids, starter = [root], None
    for pid in pids:
        try:
            status = dict(
                line.partition(":\t")[::2]
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
        if pid == root and in_container:
            starter = status["Name"]
        if status["Name"] != starter and int(status["SigCgt"], 16) >> (number - 1) & 1:
            return True
    return False
