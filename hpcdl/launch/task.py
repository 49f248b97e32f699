"""What one attempt of a sweep's trial gets from the array task that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcdl.launch.retry import keep_trying
from hpcdl.launch.served import ServedTrials
from hpcdl.launch.watchers import Watcher
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
        if self._task_stop.exists() and not self._trial.stop.exists():
            keep_trying("the stop file", self._trial.stop.touch, self._trial)
