"""How long a job will take, by earlier runs of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hpcdl.formats import several, waiting_time
from hpcdl.job import Job
from hpcdl.run import records, states
from hpcdl.run.kinds import Record
from hpcdl.run.next_request import percentile
from hpcdl.run.paths import RunPaths
from hpcdl.run.result import Result

_MOST_RUNS = 20
_MOST_LOOKS = 200  # folders that are opened: most may have failed, or be of another program
_P95 = 0.95
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Estimate:
    """How long a job will take, without the time in the queue.

    Args:
        seconds: the median of earlier runs.
        p95_s: the time that was enough for 95 % of them.
        gpu_hours: GPUs times hours, for the median.
        runs: how many earlier runs.
    """

    seconds: float
    p95_s: float
    gpu_hours: float
    runs: int

    def __str__(self) -> str:
        time = f"{self.seconds:.0f} s"
        if self.seconds >= 60:
            time = waiting_time(round(self.seconds / 60))
        cost = f" and {self.gpu_hours:.2g} GPU-hours" if self.gpu_hours else ""
        return f"about {time}{cost}, by {several(self.runs, 'earlier run')}"


def estimate(runs_root: Path, job: Job, backend: str = "slurm") -> Estimate | None:
    """How long a job will take, by its newest 20 runs that are done.

    Those count that have its name, its kind of program, its GPUs and its nodes. Where both are
    trainings with another number of epochs, the time of the epochs is scaled.

    Args:
        runs_root: the folder of runs.
        job: the job.
        backend: "slurm" or "local"; runs of the other one do not count.

    Returns:
        None if there is no such run.
    """
    seconds = []
    for paths in _newest(runs_root / job.name):
        taken_s = _seconds(paths, job, backend)
        if taken_s is not None:
            seconds.append(taken_s)
        if len(seconds) == _MOST_RUNS:
            break
    if not seconds:
        return None
    usual_s = median(seconds)
    gpus = job.resources.gpus * job.resources.node_count.most
    return Estimate(usual_s, p95(seconds), usual_s * gpus / _HOUR_S, len(seconds))


def p95(seconds: Sequence[float]) -> float:
    """The time that was enough for 95 % of runs, in seconds."""
    return percentile(sorted(seconds), _P95)


def _newest(folder: Path) -> Iterator[RunPaths]:
    """The runs in a folder, the newest first: their names begin with the time."""
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return
    for name in names[:_MOST_LOOKS]:
        if not name.startswith("."):
            yield RunPaths(folder / name)


def _seconds(paths: RunPaths, job: Job, backend: str) -> float | None:
    """What a run tells of the job's time, in seconds; None if it is not done, or another thing."""
    result = Result.read(paths)
    if result is None or result.state != states.DONE:
        return None
    total_s = result.keys.get("timing", {}).get("total_s")
    ran_on = result.keys.get("cluster", {}).get("backend")
    if total_s is None or ran_on != backend or not _is_same(records.plan(paths), job):
        return None
    if job.train is None:
        return float(total_s)
    return _scaled_s(float(total_s), result.keys, records.spec(paths), job.train.epochs)


def _is_same(plan: Record, job: Job) -> bool:
    """Whether a run has the job's kind of program and its size."""
    resources = job.resources
    if (plan.get("gpus"), plan.get("nodes")) != (resources.gpus, resources.node_count.most):
        return False
    if bool(plan.get("words")) != bool(job.hpcdl):  # a command of hpcdl's
        return False
    return os.path.basename(plan.get("script") or "") == os.path.basename(job.script or "")


def _scaled_s(total_s: float, result: Record, spec: Record, epochs: int) -> float | None:
    """The time of a training with another number of epochs: that of its epochs is scaled.

    Args:
        total_s: how long the run took.
        result: its result.json.
        spec: its run.json.
        epochs: how many the job has at most.

    Returns:
        None if the numbers differ and the run does not tell how long its epochs took.
    """
    before = spec.get("train", {}).get("epochs")
    if before == epochs:
        return total_s
    per_epoch_s = result.get("timing", {}).get("per_epoch_s")
    epochs_run = result.get("epochs_run")
    if not isinstance(before, int) or before < 1 or per_epoch_s is None or epochs_run is None:
        return None
    in_epochs_s: float = min(total_s, per_epoch_s * epochs_run)
    return total_s + in_epochs_s * (epochs / before - 1)
