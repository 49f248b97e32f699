"""The short runs of a scaling report: one for each size, prepared and sent like any other run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import UserError
from hpcdl.job import Job
from hpcdl.run.after import After
from hpcdl.scaling.folder import PREFIX, ScalePaths, ScaleRun
from hpcdl.submission.create import new_run
from hpcdl.submission.gpu_budget import asked_gpu_hours, require_budget
from hpcdl.submission.prepare import Submission, prepare

_SUFFIX = "-scale"  # under the job's own name they would count as its earlier runs
_LONGEST = 90  # of a name, so that there is room for it
_EPOCHS = 4  # the first one warms up, the others are measured
_MEASURED = ("data.", "model.", "train.")
# What takes time and says nothing about the speed of the training
_LEFT_OUT = (
    "train.early_stopping=null",
    "train.cross_validation=null",
    "train.tensorboard=false",
    "data.validation_split=0",
    "export=[]",
    "test.explain=none",
    "test.attack=[]",
)


@dataclass(frozen=True)
class ScaleSize:
    """A size that is to be measured: GPUs of a node, and nodes."""

    gpus: int
    nodes: int = 1

    @property
    def sets(self) -> list[str]:
        """The size as ``key=value`` texts."""
        return [f"resources.gpus={self.gpus}", f"resources.nodes={self.nodes}"]


def short_sets(job: Job, steps: int) -> list[str]:
    """The ``key=value`` texts that make a short run of a training.

    Args:
        job: the whole job.
        steps: about how many steps it trains.

    Raises:
        UserError: the job is not a training.
    """
    if job.train is None:
        raise UserError(
            f"{job.name} is not a training of hpcdl's, and how fast another program trains is not "
            "known; expected a job with data, model and train"
        )
    sets = [f"train.epochs={_EPOCHS}", f"train.steps_per_epoch={math.ceil(steps / _EPOCHS)}"]
    sets.append("train.time_parts=true")
    sets.append(f"name={job.name[:_LONGEST]}{_SUFFIX}")
    schedule = job.train.schedule
    if schedule is not None and schedule.name == "plateau":  # it looks at validation
        sets.append("train.schedule=null")
    return [*sets, *_LEFT_OUT]


def passes_of(job: Job) -> float:
    """How often a training goes over all training rows; 0 if nobody can tell before.

    Args:
        job: the whole job.
    """
    train, data = job.train, job.data
    if train is None or data is None or train.steps_per_epoch is not None:
        return 0.0
    if train.balance in ("oversample", "undersample"):
        return 0.0
    if train.cross_validation:
        return float(train.epochs * (train.cross_validation - 1))
    return train.epochs * (1 - data.validation_split)


def measured_sets(sets: Sequence[str]) -> list[str]:
    """Those of the user's ``key=value`` texts that a recommendation must repeat.

    What the speed depends on; not the place, nor settings that may hold a secret.
    """
    return [text for text in sets if text.startswith(_MEASURED)]


def prepare_size(
    job: Job, size: ScaleSize, cluster: Cluster, backend: str, runs_dir: str | None
) -> Submission:
    """Decide everything about the run of a size. Nothing is written to disk.

    Raises:
        JobError: the cluster cannot do what this size asks.
        UserError: this machine has no GPUs.
    """
    submission = prepare(job, cluster, backend, runs_dir)
    if submission.job.resources.gpus != size.gpus:
        raise UserError(
            f"this machine has no GPU, and {size.gpus} are asked for; expected --backend slurm, or "
            "--set cluster.emulate_gpus=true to try the command with parts of the CPU"
        )
    return submission


def require_no_dependency(submission: Submission) -> None:
    """Make sure that runs can wait for each other.

    Raises:
        UserError: the job waits for another one already.
    """
    own = dict(submission.plan.directives).get("dependency")
    if own is not None:
        raise UserError(
            f"slurm.dependency is {own!r}, and the runs of hpcdl scale wait for each other; "
            "expected none: take it out, or say --at-once"
        )


def after_run(submission: Submission, before: ScaleRun) -> Submission:
    """The same, to begin when another run has ended in any way."""
    return replace(submission, after=[*submission.after, After(Path(before.folder), True)])


def require_budget_for(submissions: Sequence[Submission], cluster: Cluster) -> None:
    """Make sure that the profile's budget allows all runs together.

    Raises:
        UserError: it does not.
    """
    first = submissions[0]
    if first.backend == "slurm":
        require_budget(cluster, first.paths.root.parent.parent, asked_in_all(submissions))


def asked_in_all(submissions: Sequence[Submission]) -> float:
    """The GPU-hours of runs that take all their time."""
    return sum(asked_gpu_hours(submission.plan) for submission in submissions)


def new_folder(submission: Submission) -> ScalePaths:
    """The paths of a new scaling report, next to its runs."""
    runs_root = submission.paths.root.parent.parent
    root = new_run(submission.job.name, runs_root, submission.backend == "slurm").root
    return ScalePaths(root.with_name(PREFIX + root.name))
