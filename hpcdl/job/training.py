"""A job's training as the trainer sees it, checked by the trainer's own rules before the queue."""

from __future__ import annotations

from dataclasses import replace

from hpcdl.contract.settings import SpecProblem
from hpcdl.contract.spec import DataSpec, DeviceSpec, RunSpec, TestSpec, TrainSpec
from hpcdl.errors import Problem
from hpcdl.job.from_run import FromRun
from hpcdl.job.sections import Job
from hpcdl.text import show


def training_of(job: Job) -> RunSpec:
    """The run of a job as far as the job alone says it, for the rules in `hpcdl.contract.checks`.

    Missing sections have their defaults, and a missing model is None.
    """
    data = job.data or DataSpec()
    data = replace(data, path=data.path or data.name or ".")  # where it lies is found out later
    model = None if isinstance(job.model, FromRun) else job.model  # the run's is found out later
    return RunSpec(
        name=job.name,
        data=data,
        model=model,  # type: ignore[arg-type]  # rules look at models of their own kind only
        train=(job.train or TrainSpec()).for_gpus(job.resources.all_gpus),
        devices=DeviceSpec(gpus=job.resources.gpus),
        hpcdl_version="",
        test=job.test or TestSpec(),
        export=job.export,
    )


def training_problems(job: Job) -> list[Problem]:
    """What is wrong with a training by the trainer's own rules, each at its place in the job file.

    Looks at no disk: where the data lie is not asked.
    """
    if job.data is None or job.train is None or job.model is None:
        return []
    if isinstance(job.model, FromRun):
        return []
    from hpcdl.contract.checks import spec_problems  # a script's job does without

    problems = []
    for problem in spec_problems(training_of(job)):
        where = job.places.get(problem.key, job.source)
        problems.append(Problem(where, problem.key, message_of(problem)))
    return problems


def notes_of_training(job: Job) -> list[str]:
    """What a user should hear of a training that can run: unequal shares of its batches."""
    if job.train is None:
        return []
    gpus = job.resources.all_gpus
    rows = job.train.for_gpus(gpus).batch_size
    if gpus < 2 or rows % gpus == 0:
        return []
    below = rows - rows % gpus
    devices = "GPUs" if job.resources.gpus else "workers"
    return [
        f"train.batch_size {rows} does not divide by {gpus} {devices}: some get a row more than"
        f" others and the rest wait for them; {below} and {below + gpus} divide"
    ]


def message_of(problem: SpecProblem) -> str:
    """What a job file's reader is told of a problem by the trainer's rules."""
    return f"expected {problem.expected}; got {show(problem.value)}{problem.hint}"
