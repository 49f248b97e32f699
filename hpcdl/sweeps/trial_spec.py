"""A trial's run.json: the sweep's, with the trial's parameters as if the job file had them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.contract.spec import RunSpec, TestSpec, TrainSpec
from hpcdl.errors import JobError, Problem
from hpcdl.job import apply_sets
from hpcdl.job.build import build
from hpcdl.job.from_run import FromRun
from hpcdl.staging import set_path
from hpcdl.yamlfile.reader import read_yaml

_SECTIONS = ("name", "data", "model", "train", "test")


def trial_spec(base: RunSpec, job_text: str, params: Mapping[str, Any], data_root: str) -> RunSpec:
    """The contract with the trainer for one trial.

    Args:
        base: the sweep's.
        job_text: the sweep's job.yaml.
        params: the trial's, by the job's keys.
        data_root: where staged data sets are.

    Raises:
        JobError: the job does not take these values.
    """
    problems: list[Problem] = []
    document = read_yaml(job_text, "job.yaml", problems)
    if document is None or not isinstance(document.value, dict):
        raise JobError("job.yaml", problems)
    for key in list(document.value):
        if key not in _SECTIONS:
            del document.value[key]
    apply_sets(document, as_sets(params), problems)
    job = build(document, Path("/"), "job.yaml", problems)
    if problems or job is None or job.data is None or job.model is None or job.train is None:
        raise JobError("the trial's parameters", problems)
    data = job.data
    if data.name is not None:
        data = replace(data, path=set_path(data_root, data.name))
    test = job.test or TestSpec()
    test = replace(test, explain=test.method(among_many=True))
    train = _with_teacher(job.train, base.train)
    model = job.model
    if isinstance(model, FromRun):
        model = base.model  # the run was found when the sweep was sent
    # Only the best are worth it: hpcdl export SWEEP/17 --to KIND
    return replace(base, data=data, model=model, train=train, test=test, export=[])


def _with_teacher(train: TrainSpec, base: TrainSpec) -> TrainSpec:
    """The section `train` with the teachers' files that were found when the sweep was sent."""
    if train.distill is None or base.distill is None:
        return train
    teacher, sha256 = base.distill.teacher, base.distill.sha256
    return replace(train, distill=replace(train.distill, teacher=teacher, sha256=sha256))


def as_sets(params: Mapping[str, Any]) -> list[str]:
    """Parameters as ``key=value`` texts, as ``--set`` takes them."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in params.items()]
