"""The settings of jobs by dotted key, and those in which several jobs differ."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hpcdl.contract import spec
from hpcdl.contract.settings import add_later_settings, plain_sections

_OF_A_TRAINING = ("data", "model", "train")  # sections that a script's job does not have


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """A job's settings by dotted key.

    What the hpcdl of that time did not know has the value that stands for it.
    """
    whole = copy.deepcopy(job)
    for section_class, section in plain_sections(spec.RunSpec, whole):
        add_later_settings(section_class, section)
    return _flatten(whole)


def differences(jobs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys, dotted, whose values are not the same in all jobs; None where a job lacks one.

    The job's name is not a setting. Where trainings stand beside scripts, settings of a training
    that have their defaults are left out: a script has nothing in their place.
    """
    flat = [settings(job) for job in jobs]
    defaults = [_defaults(job) for job in jobs]
    trainings = [n for n, job in enumerate(jobs) if "script" not in job]
    is_mixed = 0 < len(trainings) < len(jobs)
    differing: dict[str, list[Any]] = {}
    for key in _keys(flat):
        values = [job_settings.get(key) for job_settings in flat]
        if key == "name" or all(value == values[0] for value in values):
            continue
        if is_mixed and key.partition(".")[0] in _OF_A_TRAINING:
            own = [(flat[n].get(key), defaults[n].get(key)) for n in trainings]
            if all(value == default for value, default in own):
                continue
        differing[key] = values
    return differing


def _keys(flat: Sequence[dict[str, Any]]) -> list[str]:
    """The keys of all jobs, in the order in which they first appear."""
    keys: dict[str, None] = {}
    for job_settings in flat:
        keys.update(dict.fromkeys(job_settings))
    return list(keys)


def _defaults(job: dict[str, Any]) -> dict[str, Any]:
    """What the settings of a job's training are where it does not say."""
    if "script" in job:
        return {}
    model = job.get("model") or {}
    if "function" in model:
        model_defaults: Any = spec.FunctionSpec("")
    elif "backbone" in model:
        model_defaults = spec.BackboneSpec("")
    else:
        model_defaults = spec.MODELS.get(model.get("name", ""), spec.MlpSpec)()
    sections = {"data": spec.DataSpec(), "model": model_defaults, "train": spec.TrainSpec()}
    return _flatten({name: asdict(section) for name, section in sections.items()})


def _flatten(section: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{before}{key}."))
        else:
            flat[f"{before}{key}"] = value
    return flat
