"""SLURM's answers about arrays: one line may be about many tasks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hpcdl.scheduler.arrays import TaskIds, parse_task_ids
from hpcdl.scheduler.jobinfo import JobInfo


def array_of(job_id: str) -> str:
    """The id of a task's array, ``123`` of ``123_4``; a plain job's own id."""
    return job_id.partition("_")[0]


class Jobs:
    """Answers by the ids that SLURM prints: ``123``, ``123_4``, ``123_[5-9%2]``.

    Args:
        jobs: the answers.
    """

    def __init__(self, jobs: Mapping[str, JobInfo]) -> None:
        self._jobs = jobs
        self._names: dict[str, list[str]] = {}  # of an array, by its id
        self._lists: dict[str, list[tuple[TaskIds, str]]] = {}  # of several tasks, likewise
        for name in jobs:
            array = array_of(name)
            if array != name:
                self._names.setdefault(array, []).append(name)
            if name.endswith("]"):
                self._add_list(array, name)

    def _add_list(self, array: str, name: str) -> None:
        try:
            tasks = parse_task_ids(name)
        except ValueError:
            return  # of a form that no SLURM of today prints
        self._lists.setdefault(array, []).append((tasks, name))

    def about(self, job_id: str) -> dict[str, JobInfo]:
        """What is known of a job, of a task, or of all tasks of an array, by id.

        Of two answers about one task the later one counts.
        """
        if "_" not in job_id:
            names = self._names.get(job_id, [])
            tasks = {name: self._jobs[name] for name in names}
            if job_id in self._jobs and not tasks:
                return {job_id: self._jobs[job_id]}
            return tasks
        answers = []
        if job_id in self._jobs:
            answers.append(self._jobs[job_id])
        for listed, name in self._lists.get(array_of(job_id), []):
            if job_id in listed:
                answers.append(self._jobs[name])
        if not answers:
            return {}
        return {job_id: max(answers, key=lambda job: job.asked)}
