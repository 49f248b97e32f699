"""What looks after a running program: watchers, each of which looks once a second."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from hpcdl.launch.deadline import Deadline
from hpcdl.launch.processes import kill_tree
from hpcdl.launch.retry import SURE_AFTER, RunRemovedError
from hpcdl.run.paths import RunPaths

_CANCEL_WAIT_S = 45.0  # scancel is quicker if it works


class Watcher(Protocol):
    """Looks after a running program."""

    def look(self, now: float, pid: int) -> None:
        """Do what is due.

        Args:
            now: unix time.
            pid: the process that launch started.
        """


class KillWatcher:
    """Kills a program that goes on beyond its time limit, or long after its run was cancelled.

    Of a cancelled run SLURM has then not been told, or cannot be reached.

    Args:
        paths: the run.
        deadline: the time limit; it must look first.
    """

    def __init__(self, paths: RunPaths, deadline: Deadline) -> None:
        self.paths = paths
        self.deadline = deadline

    def look(self, now: float, pid: int) -> None:
        """Kill the program and all that it started, if it is time."""
        if self.deadline.overtime or self._was_cancelled(now):
            kill_tree(pid)

    def _was_cancelled(self, now: float) -> bool:
        for marker in self.paths.cancel_markers():
            with suppress(OSError):
                if now - marker.stat().st_mtime > _CANCEL_WAIT_S:
                    return True
        return False


class RemovedWatcher:
    """Notices that the run folder was removed.

    Args:
        paths: the run.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self.removed_looks = 0

    def look(self, now: float, pid: int) -> None:
        """Look for the run folder.

        Raises:
            RunRemovedError: it was missing in several looks in a row.
        """
        if not self.paths.is_removed():
            self.removed_looks = 0
            return
        self.removed_looks += 1
        if self.removed_looks >= SURE_AFTER:
            raise RunRemovedError(f"{self.paths.root} was removed")
