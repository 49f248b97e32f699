"""What one attempt of a sweep's trial gets from the array task that runs it."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpcdl.errors import RunError
from hpcdl.launch.retry import keep_trying
from hpcdl.launch.served import ServedTrials
from hpcdl.launch.watchers import Watcher
from hpcdl.run import records
from hpcdl.run.paths import RunPaths
from hpcdl.sweeps.settings import SweepSettings


@dataclass(frozen=True)
class TaskContext:
    """What one attempt of a trial gets from its task.

    Args:
        settings: the sweep's.
        end_time: when the task reaches its time limit (unix time).
        watchers: what looks after the trial, besides the watchers of every program.
        served: starts the trial where TensorFlow is imported already; None for a fresh process.
    """

    settings: SweepSettings
    end_time: float
    watchers: Sequence[Watcher]
    served: ServedTrials | None = None


class TaskStop:
    """A watcher that hands the task's request to save and stop on to its trial.

    Args:
        task_stop: the task's stop file, which the batch script makes at SLURM's warning.
        trial: the trial.
    """

    def __init__(self, task_stop: Path, trial: RunPaths) -> None:
        self._task_stop = task_stop
        self._trial = trial

    def look(self, now: float, pid: int) -> None:
        """Make the trial's stop file if the task has one."""
        if os.path.exists(self._task_stop) and not os.path.exists(self._trial.stop):
            keep_trying("the stop file", self._trial.stop.touch, self._trial)


class OtherWorker:
    """A watcher that ends this worker if another one has begun to run its trial.

    SLURM starts a task again whose node it takes for dead, and the node may still be at work.

    Args:
        trial: the trial.
    """

    def __init__(self, trial: RunPaths) -> None:
        self._trial = trial
        self._size = -1

    def look(self, now: float, pid: int) -> None:
        """Look for a newer attempt.

        Raises:
            RunError: another worker has begun one.
        """
        with suppress(OSError):
            size = self._trial.attempts.stat().st_size
            if size != self._size:
                self._size = size
                require_own(self._trial)


def require_own(trial: RunPaths) -> None:
    """Make sure that this process has begun the newest attempt of a trial.

    Raises:
        RunError: another one has.
    """
    starts = [event for event in records.read_attempts(trial) if event.is_start]
    if starts and (starts[-1].pid, starts[-1].host) != (os.getpid(), socket.gethostname()):
        raise RunError(
            f"another worker of this task runs trial {trial.root.name} on {starts[-1].node}"
        )
