"""The checks of a sweep besides those of its job: its tasks, and how they claim their trials."""

from __future__ import annotations

from collections.abc import Iterator

from hpcdl.formats import count, several
from hpcdl.preflight import Check, Finding, Note, Subject
from hpcdl.preflight.filesystem import exclusive_links
from hpcdl.preflight.trial import TRIAL, trial
from hpcdl.scheduler.arrays import ArrayLimits, Split, split
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.limits import limits_at
from hpcdl.submission.sweep import SweepSubmission

_LATER = "wait until other jobs have ended (squeue --me)"


def checks_of(prepared: SweepSubmission) -> list[tuple[str, Check]]:
    """The checks of a sweep, by name, besides those of its job."""
    can_be_fewer = prepared.settings.trials_per_task is None
    backend = prepared.submission.backend
    return sweep_checks(backend, prepared.tasks, prepared.at_once, can_be_fewer)


def sweep_checks(
    backend: str, tasks: int, at_once: int, can_be_fewer: bool
) -> list[tuple[str, Check]]:
    """The checks of a sweep, by name, for `hpcdl.preflight.all_checks.check_all`.

    Args:
        backend: "slurm", or "local" for this machine.
        tasks: how many are to be sent.
        at_once: how many of them run at once.
        can_be_fewer: whether fewer tasks would run all trials, one after the other.
    """
    checks: list[tuple[str, Check]] = [("exclusive links", exclusive_links)]
    if backend == "slurm":
        array = _Array(tasks, at_once, can_be_fewer)
        checks += [("tasks", array.tasks), (TRIAL, array.trial)]
    return checks


class _Array:
    """The tasks of a sweep, and what the site allows; SLURM is asked once for both checks."""

    def __init__(self, tasks: int, at_once: int, can_be_fewer: bool) -> None:
        self._tasks = tasks
        self._at_once = at_once
        self._can_be_fewer = can_be_fewer
        self._answer: ArrayLimits | None = None

    def tasks(self, subject: Subject) -> Iterator[Finding | Note]:
        """The site lets this user submit and run that many tasks."""
        limits = self._limits(subject)
        yield from task_findings(limits, self._tasks, self._at_once, self._can_be_fewer)

    def trial(self, subject: Subject) -> Iterator[Finding | Note]:
        """SLURM would take the script with this array (``sbatch --test-only --array=...``)."""
        limits = self._limits(subject)
        if limits.max_array_size == 0:
            return
        pieces = split(self._tasks, self._at_once, limits).pieces
        if pieces:
            yield from trial(subject, [f"--array={pieces[0].expression}"])

    def _limits(self, subject: Subject) -> ArrayLimits:
        if self._answer is None:
            options = dict(subject.plan.directives)
            site = subject.slurm_site
            with on_cluster(subject.cluster.clusters):
                self._answer = limits_at(site, options, subject.cluster)
        return self._answer


def task_findings(
    limits: ArrayLimits, tasks: int, at_once: int, can_be_fewer: bool
) -> Iterator[Finding | Note]:
    """Whether a site lets a user submit and run tasks of a sweep.

    Args:
        limits: what SLURM and the site allow now.
        tasks: how many are to be sent.
        at_once: how many of them run at once.
        can_be_fewer: whether fewer tasks would run all trials, one after the other.
    """
    if limits.max_array_size == 0:
        message = "SLURM takes no job arrays here (MaxArraySize is 0)"
        yield Finding(message, "submit single runs: hpcdl submit", "cluster")
        return
    if limits.max_running == 0:
        message = f"{limits.run_rule}: no task would ever start"
        yield Finding(message, "use another QoS or account", "cluster")
    answer = split(tasks, at_once, limits)
    if answer.left_over:
        yield _too_many(limits, answer, (tasks, at_once), can_be_fewer)
    if len(answer.pieces) > 1:
        arrays = several(len(answer.pieces), "array")
        longest = count(answer.pieces[0].tasks)
        yield Note(f"the tasks go in {arrays} of at most {longest}, as SLURM and the site ask")
    if limits.max_running and limits.max_running < at_once:
        yield Note(f"{limits.run_rule}: the sweep's other tasks wait in the queue")


def _too_many(
    limits: ArrayLimits, answer: Split, size: tuple[int, int], can_be_fewer: bool
) -> Finding:
    """Why not all tasks can be sent now.

    Args:
        limits: what SLURM and the site allow now.
        answer: what can be sent.
        size: how many tasks are to be sent, and how many of them run at once.
        can_be_fewer: whether fewer tasks would run all trials.
    """
    tasks, at_once = size
    sent = tasks - answer.left_over
    rule = limits.submit_rule
    if limits.max_submitted is None or sent < min(tasks, limits.max_submitted):
        arrays = several(len(answer.pieces), "array")
        rule = f"{at_once} at once make {arrays} of {count(answer.pieces[0].tasks)} tasks"
    have = several(tasks, "task")
    cause = f"the sweep has {have}, and {count(sent)} can be submitted now: {rule}"
    if sent == 0:
        return Finding(cause, f"{_LATER}, or use another QoS or account", "cluster")
    if can_be_fewer:
        fix = f"nothing, if the sweep may take longer: these run all trials; else {_LATER}"
        return Finding(cause, fix, "cluster", blocks=False)
    fix = f"let each task run more trials (trials_per_task), or {_LATER}"
    return Finding(cause, fix, "cluster")
