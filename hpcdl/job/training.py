"""What the trainer would refuse on the node, said of the job file before the queue."""

from __future__ import annotations

import re
from dataclasses import replace

from hpcdl.contract.spec import DeviceSpec, RunSpec, SpecError
from hpcdl.errors import Problem
from hpcdl.job.sections import Job

_GIVEN_AND_EXPECTED = re.compile(
    r"(?P<key>\S+) is (?P<given>.+); expected (?P<expected>.+)", re.DOTALL
)


def training_problems(job: Job) -> list[Problem]:
    """What is wrong with a training by the trainer's own rules, each at its place in the job file.

    Looks at no disk: where the data lie is not asked.
    """
    from hpcdl.contract.checks import check_spec

    if job.model is None or job.data is None or job.train is None:
        return []
    data = replace(job.data, path=job.data.path or job.data.name)
    devices = DeviceSpec(gpus=job.resources.gpus)
    run = RunSpec(job.name, data, job.model, job.train, devices, hpcdl_version="")
    try:
        check_spec(run)
    except SpecError as error:
        return [_problem(job, line) for line in str(error).splitlines()]
    return []


def _problem(job: Job, line: str) -> Problem:
    """The trainer names the key at the beginning of each line."""
    match = _GIVEN_AND_EXPECTED.fullmatch(line)
    if match is None:
        key, _, message = line.partition(" ")
        key = key.rstrip(":")
    else:
        key, message = match["key"], f"expected {match['expected']}; got {match['given']}"
    return Problem(job.places.get(key, job.source), key, message)
