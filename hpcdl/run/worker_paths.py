"""The paths of one worker of a run on several nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract import run_files
from hpcdl.run.paths import RunPaths


@dataclass(frozen=True)
class WorkerPaths(RunPaths):
    """The files of a run as one of its workers writes them.

    The run folder is worker 0's. Another worker writes files of the same names into
    ``workers/<rank>``. What describes the run, and what asks it to stop, is the same for all.

    Args:
        root: the run folder.
        rank: the worker's number, from 0.
    """

    rank: int = 0

    @property
    def own(self) -> Path:
        """The folder that this worker writes into."""
        return self.root / run_files.WORKERS / str(self.rank) if self.rank else self.root

    @property
    def logs(self) -> Path:
        """A log for each attempt."""
        return self.own / run_files.LOGS

    @property
    def metrics(self) -> Path:
        """What a script writes of its metrics."""
        return self.own / run_files.METRICS

    @property
    def heartbeat(self) -> Path:
        """Where the worker is now."""
        return self.own / run_files.HEARTBEAT

    @property
    def failure(self) -> Path:
        """Why the worker gave up."""
        return self.own / run_files.FAILURE

    @property
    def devices(self) -> Path:
        """What the GPUs, CPUs, memory and reading of its node did over time."""
        return self.own / super().devices.name


def meetings(paths: RunPaths) -> Path:
    """The folder that holds a folder for each attempt's meeting, and one for each worker."""
    return paths.root / run_files.WORKERS


def meeting(paths: RunPaths, attempt: int) -> Path:
    """The folder where the members of an attempt meet, and write down how they ended.

    Args:
        paths: the run.
        attempt: the attempt's number, from 1.
    """
    return meetings(paths) / f"attempt-{attempt}"
