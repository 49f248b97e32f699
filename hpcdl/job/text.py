"""A `Job` as the text of a job file, with everything resolved."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hpcdl.job.sections import Job

_INTERNAL = ("requirements", "start", "workdir_text", "source", "folder", "places")


def job_text(job: Job) -> str:
    """The job with everything resolved, as a job file."""
    import yaml

    section = dataclasses.asdict(dataclasses.replace(job, cluster={}))
    section["cluster"] = {key: item.plain() for key, item in job.cluster.items()}
    section = _without(section, _INTERNAL, (None, [], {}))
    if job.hpcdl:
        del section["container"]  # a command runs without one
    for key in ("resources", "data", "model", "train", "test", "notify", "sweep"):
        if key in section:
            section[key] = _without(section[key])
    if "model" in section:
        section["model"] = {**section["model"], **section["model"].pop("rest", {})}
        if job.start is not None:
            section["model"]["start"] = job.start.model
    if section.get("train", {}).get("distill"):
        del section["train"]["distill"]["sha256"]
    if "train" in section:
        section["train"]["optimizer"] = _without(section["train"]["optimizer"])
    text = str(yaml.safe_dump(section, sort_keys=False, allow_unicode=True))
    if text.replace("\n", "").isprintable():
        return text
    return str(
        yaml.safe_dump(section, sort_keys=False)
    )  # a rare line break (U+0085) would be read back as a space


def _without(
    section: dict[str, Any], names: Sequence[str] = (), values: Sequence[Any] = (None,)
) -> dict[str, Any]:
    """A section without these keys, and without those that have one of these values."""
    return {
        name: value for name, value in section.items() if name not in names and value not in values
    }
