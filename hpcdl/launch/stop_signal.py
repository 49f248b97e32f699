"""Turns the request to stop into a signal, for a script that asked for one."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from hpcdl.launch.processes import handles, processes_below, status_of_process
from hpcdl.planning import Plan


class StopSignal:
    """A watcher that sends the job's ``stop_signal`` when the stop file appears, once per attempt.

    It goes to the program alone: the container's starter hands it on. A program without a handler
    would end by it, so it is held back until the program has one.

    Args:
        plan: the plan, which names the signal or none.
        stop: the stop file.
    """

    def __init__(self, plan: Plan, stop: Path) -> None:
        self.number: int | None = None
        name = plan.program.stop_signal
        if name:
            self.number = signal.Signals[f"SIG{name}"]
        self.in_container = plan.container is not None
        self.stop = stop

    def look(self, now: float, pid: int) -> None:
        """Send the signal to the process that launch started, if it is time."""
        if self.number is None or not os.path.exists(self.stop):
            return
        if not _is_handled(self.number, pid, self.in_container):
            return
        with contextlib.suppress(OSError):  # it has just ended
            os.kill(pid, self.number)
        self.number = None


def _is_handled(number: int, root: int, in_container: bool) -> bool:
    """Whether a program has a handler for a signal.

    Args:
        number: the signal.
        root: the pid that launch started.
        in_container: whether that is the container's starter, which always has a handler.
    """
    starter = None
    for pid in processes_below(root):
        status = status_of_process(pid)
        if status is None:
            continue
        if pid == root and in_container:
            starter = status["Name"]
        if status["Name"] != starter and handles(status, number):
            return True
    return False
