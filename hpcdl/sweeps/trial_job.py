"""The job of one trial: the sweep's job with the trial's parameters in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.errors import JobError, Problem
from hpcdl.job import Job, apply_sets
from hpcdl.job.build import build
from hpcdl.job.text import job_text
from hpcdl.sweeps.arguments import ARGUMENT, with_argument
from hpcdl.sweeps.trial_spec import as_sets
from hpcdl.yamlfile.reader import Located, read_yaml


class TrialJobs:
    """Makes the jobs of trials from one job.

    Args:
        job: the sweep's. Its section `sweep` is left out.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        document = read_yaml(job_text(job), job.source, [])
        assert document is not None  # noqa: S101 - the text comes from PyYAML itself
        document.value.pop("sweep", None)
        self._document = document

    def job_of(self, parameters: Mapping[str, Any]) -> Job:
        """The job with these values, checked as a job file that has them. Its places are those of
        the sweep's job.

        Args:
            parameters: by the job's keys; ``args.NAME`` is an argument of a script.

        Raises:
            JobError: all that is wrong with the job then.
        """
        problems: list[Problem] = []
        document = _copied(self._document)
        _put_parameters(document, parameters, problems)
        job = None
        if not problems:
            job = build(document, Path(self._job.folder), self._job.source, problems)
        if job is None or problems:
            raise JobError(self._job.source, problems)
        return replace(job, places=self._job.places)


def trial_settings(job_text: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trial, as a job file with its values has them. Nothing is checked.

    Args:
        job_text: the sweep's job.yaml.
        parameters: by the job's keys; ``args.NAME`` is an argument of a script.
    """
    document = read_yaml(job_text, "job.yaml", [])
    if document is None or not isinstance(document.value, dict):
        return {}
    _put_parameters(document, parameters, [])
    settings: dict[str, Any] = document.plain()
    return settings


def _put_parameters(
    document: Located, parameters: Mapping[str, Any], problems: list[Problem]
) -> None:
    """Put a trial's values into a job, as if they had been written there."""
    of_job = {}
    for key, value in parameters.items():
        if key.startswith(ARGUMENT):
            _put_argument(document, key.removeprefix(ARGUMENT), value)
        else:
            of_job[key] = value
    apply_sets(document, as_sets(of_job), problems)


def _put_argument(document: Located, name: str, value: Any) -> None:
    args = document.value.get("args")
    words: list[str] = []
    if args is not None:
        words = [str(word.raw) for word in args.value]
    new_words = []
    for word in with_argument(words, name, value):
        new_words.append(Located(word, document.where, word))
    document.value["args"] = Located(new_words, document.where)


def _copied(item: Located) -> Located:
    """A copy in which sections can be changed."""
    if not isinstance(item.value, dict):
        return item
    items = {name: _copied(inner) for name, inner in item.value.items()}
    return Located(items, item.where)
