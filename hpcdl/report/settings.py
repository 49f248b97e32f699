"""The settings of jobs by dotted key, and those in which several jobs differ."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hpcdl.contract import spec
from hpcdl.contract.settings import add_later_settings, plain_sections
from hpcdl.sweeps.arguments import ARGUMENT

_OF_A_TRAINING = ("data", "model", "train", "test")  # sections that a script's job does not have


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """A job's settings by dotted key.

    A setting that is newer than the job has the value that means what hpcdl did at that time.
    """
    whole = copy.deepcopy(job)
    for section_class, section in plain_sections(spec.RunSpec, whole):
        add_later_settings(section_class, section)
    return _flatten(whole)


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


def differences(jobs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys, dotted, whose values are not the same in all jobs; None where a job lacks one.

    The job's name is not a setting. If some jobs are trainings and some are scripts, settings that
    have their defaults in all trainings are left out: scripts do not have these settings.
    """
    flat = [settings(job) for job in jobs]
    trainings = [job for job in jobs if "script" not in job]
    defaults: set[str] = set()
    if 0 < len(trainings) < len(jobs):
        defaults = _all_default(trainings, _keys(flat))
    differing: dict[str, list[Any]] = {}
    for key in _keys(flat):
        values = [job_settings.get(key) for job_settings in flat]
        is_same = all(value == values[0] for value in values)
        if key != "name" and not is_same and key not in defaults:
            differing[key] = values
    return differing


def _all_default(trainings: Sequence[dict[str, Any]], keys: Sequence[str]) -> set[str]:
    """Those keys of a training that have their default values in all trainings."""
    default_keys = {key for key in keys if key.partition(".")[0] in _OF_A_TRAINING}
    for job in trainings:
        job_settings, defaults = settings(job), _defaults(job)
        for key in keys:
            if job_settings.get(key) != defaults.get(key):
                default_keys.discard(key)
    return default_keys


def _keys(flat: Sequence[dict[str, Any]]) -> list[str]:
    """The keys of all jobs, in the order in which they first appear."""
    keys: dict[str, None] = {}
    for job_settings in flat:
        keys.update(dict.fromkeys(job_settings))
    return list(keys)


def _defaults(job: dict[str, Any]) -> dict[str, Any]:
    """The default settings of a job's training."""
    if "script" in job:
        return {}
    model = job.get("model") or {}
    if "function" in model:
        model_defaults: Any = spec.FunctionSpec("")
    elif "backbone" in model:
        model_defaults = spec.BackboneSpec("")
    else:
        model_defaults = spec.MODELS.get(model.get("name", ""), spec.MlpSpec)()
    sections = {
        "data": spec.DataSpec(),
        "model": model_defaults,
        "train": spec.TrainSpec(),
        "test": spec.TestSpec(),
    }
    return _flatten({name: asdict(section) for name, section in sections.items()})


def _flatten(section: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{before}{key}."))
        else:
            flat[f"{before}{key}"] = value
    return flat
