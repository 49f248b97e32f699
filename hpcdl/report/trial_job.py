"""The job of a sweep's trial: the sweep's, with the trial's parameters as if the file had them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from hpcdl.files import read_json
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.sweeps.arguments import ARGUMENT, with_argument


def read_parameters(paths: RunPaths) -> dict[str, Any]:
    """The parameters of a trial by the job's keys; empty for a run that is not a trial."""
    if not isinstance(paths, TrialPaths):
        return {}
    params = (read_json(paths.trial_file) or {}).get("params")
    return params if isinstance(params, dict) else {}


def with_parameters(job: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The job with a trial's parameters."""
    whole = copy.deepcopy(job)
    for key, value in params.items():
        if key.startswith(ARGUMENT):
            words = [str(word) for word in whole.get("args") or []]
            whole["args"] = with_argument(words, key.removeprefix(ARGUMENT), value)
        else:
            _set(whole, key.split("."), value)
    return whole


def with_each_argument(job: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The job with the arguments that are parameters as keys of their own, to compare trials."""
    arguments = {}
    for key, value in params.items():
        if key.startswith(ARGUMENT):
            arguments[key] = value
    if not arguments:
        return job
    whole = {key: value for key, value in job.items() if key != "args"}
    return {**whole, **arguments}


def _set(job: dict[str, Any], words: list[str], value: Any) -> None:
    section = job
    for word in words[:-1]:
        inner = section.get(word)
        if not isinstance(inner, dict):
            inner = {}
            section[word] = inner
        section = inner
    section[words[-1]] = value
