"""Which tasks of a sweep live: by SLURM's answers, or by the processes of this machine."""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.errors import SchedulerError
from hpcdl.run import records
from hpcdl.run.process_start import process_start
from hpcdl.run.waiting import waiting_note
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted

if TYPE_CHECKING:
    from hpcdl.scheduler.job_answers import Answers

_POLL_S = 60  # seconds between two questions, if the plan does not say


@dataclass(frozen=True)
class LivingTasks:
    """What is known of a sweep's tasks.

    Args:
        ended: the tasks, of those asked about, that have ended for good.
        waiting: those that are in the queue again.
        are_left: whether any task of the sweep waits or runs; None if nobody can tell.
        note: why tasks wait, or why SLURM did not answer.
    """

    ended: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    are_left: bool | None = None
    note: str = ""


def living_tasks(
    paths: SweepPaths, submitted: SweepSubmitted | None, tasks: Collection[str]
) -> LivingTasks:
    """Look for a sweep's tasks. SLURM is asked as seldom as for runs.

    Args:
        paths: the sweep's.
        submitted: where its tasks were sent.
        tasks: the ids of tasks that have a trial in hand, such as ``123_4``.
    """
    if submitted is None:
        return LivingTasks(are_left=False)
    if submitted.backend != "slurm":
        return _on_this_machine(submitted, tasks)
    try:
        return _in_slurm(paths, submitted, tasks)
    except SchedulerError as error:  # no answer is no reason for another state
        return LivingTasks(note=str(error))


def workers_here(submitted: SweepSubmitted) -> set[str]:
    """The keys of a sweep's workers that run on this machine."""
    keys = set()
    for number, array in enumerate(submitted.arrays):
        if array.pid is None or array.host != socket.gethostname():
            continue
        start = process_start(array.pid)
        if start is not None and start == array.pid_start:
            keys.add(f"local_{number}")
    return keys


def _on_this_machine(submitted: SweepSubmitted, tasks: Collection[str]) -> LivingTasks:
    for array in submitted.arrays:
        if array.pid is not None and array.host != socket.gethostname():
            return LivingTasks()  # another machine's processes cannot be looked at
    living = workers_here(submitted)
    return LivingTasks(ended=frozenset(tasks) - living, are_left=bool(living))


def _in_slurm(paths: SweepPaths, submitted: SweepSubmitted, tasks: Collection[str]) -> LivingTasks:
    """What SLURM says.

    Raises:
        SchedulerError: it did not answer.
    """
    from hpcdl.scheduler import job_answers
    from hpcdl.scheduler.clusters import cluster_of, on_cluster
    from hpcdl.scheduler.jobinfo import ENDED

    plan = records.plan(paths.run)
    with on_cluster(cluster_of(plan)):
        poll_s = int(plan.get("min_poll_s", _POLL_S))
        answers = job_answers.latest([*tasks, *submitted.job_ids], poll_s)
    ended, waiting = set(), set()
    for task, job in answers.about(tasks).items():
        if job.state in ENDED:
            ended.add(task)
        elif job.state == "PENDING":
            waiting.add(task)
    are_left: bool | None = False
    note = ""
    for array in submitted.arrays:
        lives, why = _of_array(array, answers)
        if lives or (lives is None and are_left is False):
            are_left = lives
        note = note or why
    return LivingTasks(frozenset(ended), frozenset(waiting), are_left, note)


def _of_array(array: SentArray, answers: Answers) -> tuple[bool | None, str]:
    """Whether tasks of an array wait or run, and why those wait; None if SLURM does not say."""
    from hpcdl.scheduler.jobinfo import ENDED

    if array.job_id is None:
        return False, ""
    jobs = answers.about([array.job_id], array.sent)
    if not jobs:
        return None, ""
    lives = False
    note = ""
    for job in jobs.values():
        lives = lives or job.state not in ENDED
        if job.state == "PENDING":
            note = note or waiting_note(job.reason, job.start, array.job_id)
    return lives, note
