"""Job arrays: the ids of their tasks, and how many tasks one sbatch may have. Pure.

Source: https://slurm.schedmd.com/job_array.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LARGEST_INDEX = 4_000_000  # SLURM's own limit of MaxArraySize is one above
_NUMBER = "[0-9]{1,9}"
_ID = re.compile(rf"({_NUMBER})(?:_({_NUMBER})|_\[([^\[\]]*)\])?")
_PART = re.compile(rf"({_NUMBER})(?:-({_NUMBER})(?::({_NUMBER}))?)?")
_THROTTLE = re.compile(_NUMBER)


@dataclass(frozen=True)
class TaskIds:
    """Some tasks of an array, or a plain job.

    Args:
        job_id: the array's own, or the plain job's.
        tasks: the numbers of the tasks; empty for a plain job.
        at_once: how many of the array's tasks may run at once; None if there is no such limit.
        is_complete: False if SLURM has cut the list short (see SLURM_BITSTR_LEN in squeue(1)).
    """

    job_id: str
    tasks: tuple[int, ...] = ()
    at_once: int | None = None
    is_complete: bool = True

    def __contains__(self, task_id: str) -> bool:
        """Whether the id of one task, such as ``123_4``, is among them."""
        if not self.tasks:
            return task_id == self.job_id
        job_id, _, task = task_id.partition("_")
        if job_id != self.job_id or not re.fullmatch(_NUMBER, task):
            return False
        return int(task) in self.tasks


def parse_task_ids(text: str) -> TaskIds:
    """The tasks of an id as SLURM prints it: ``123``, ``123_4``, ``123_[4-10,12%2]``.

    Raises:
        ValueError: the text is not such an id.
    """
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a job's id; expected 123, 123_4 or 123_[4-10,12%2]")
    job_id, task, expression = match.groups()
    if expression is not None:
        tasks, at_once, is_complete = parse_tasks(expression)
        return TaskIds(job_id, tasks, at_once, is_complete)
    if task is not None:
        return TaskIds(job_id, (_index(task),))
    return TaskIds(job_id)


def parse_tasks(expression: str) -> tuple[tuple[int, ...], int | None, bool]:
    """The tasks of ``4-10,12%2``, sorted; how many at once; whether the list is complete.

    Raises:
        ValueError: the text is not such an expression.
    """
    listed, percent, throttle = expression.partition("%")
    if percent and not _THROTTLE.fullmatch(throttle):
        raise ValueError(f"{expression!r} has no number after %; expected such as 4-10,12%2")
    shortened = listed.removesuffix("...").removesuffix(",")
    is_complete = not listed.endswith("...")
    tasks: set[int] = set()
    for part in shortened.split(","):
        tasks.update(_part(part, expression))
    at_once = int(throttle) if percent else 0
    return tuple(sorted(tasks)), at_once or None, is_complete  # SLURM shows no limit as 0


def expression_of(tasks: Iterable[int], at_once: int | None = None) -> str:
    """Numbers as SLURM writes them, for ``sbatch --array``: ``4-10,12%2``.

    Args:
        tasks: in any order; at least one.
        at_once: how many may run at once.

    Raises:
        ValueError: no task, or a number that no task can have.
    """
    runs: list[list[int]] = []
    for task in sorted(set(tasks)):
        if not 0 <= task <= LARGEST_INDEX:
            raise ValueError(f"{task} is not a task's number; expected 0 to {LARGEST_INDEX}")
        if runs and task == runs[-1][1] + 1:
            runs[-1][1] = task
        else:
            runs.append([task, task])
    if not runs:
        raise ValueError("an array needs at least one task")
    parts = []
    for first, last in runs:
        parts.append(str(first) if first == last else f"{first}-{last}")
    listed = ",".join(parts)
    if at_once is None:
        return listed
    return f"{listed}%{at_once}"


@dataclass(frozen=True)
class ArrayLimits:
    """What SLURM and the site allow; None if there is no such limit.

    Args:
        max_array_size: SLURM's MaxArraySize: one above the highest task number.
        max_submitted: tasks that this user may still submit (MaxSubmitJobs less what is queued).
        max_tasks: tasks of one array, as the site asks.
        max_running: tasks that SLURM lets run at once; the others wait in the queue.
        submit_rule: whose limit max_submitted is, in words; "" without a limit.
        run_rule: whose limit max_running is, in words; "" without a limit.
    """

    max_array_size: int | None = None
    max_submitted: int | None = None
    max_tasks: int | None = None
    max_running: int | None = None
    submit_rule: str = ""
    run_rule: str = ""


@dataclass(frozen=True)
class Piece:
    """One array to submit.

    Args:
        tasks: their number; they are numbered from 0.
        at_once: how many of them may run at once.
    """

    tasks: int
    at_once: int

    @property
    def expression(self) -> str:
        """What follows ``--array=``."""
        if self.at_once >= self.tasks:
            return expression_of(range(self.tasks))
        return expression_of(range(self.tasks), self.at_once)


@dataclass(frozen=True)
class Split:
    """Arrays to submit now.

    Args:
        pieces: of about the same length; together they run no more tasks at once than asked for.
        left_over: tasks that the limits keep back, to submit later.
    """

    pieces: tuple[Piece, ...]
    left_over: int


def split(tasks: int, at_once: int, limits: ArrayLimits) -> Split:
    """Split tasks into arrays that the limits allow.

    Args:
        tasks: how many.
        at_once: how many of them may run at once, over all arrays.
        limits: SLURM's and the site's.

    Raises:
        ValueError: a number is below 1, or a limit allows no task at all.
    """
    if tasks < 1 or at_once < 1:
        raise ValueError(f"{tasks} tasks, {at_once} at once: both must be at least 1")
    longest = LARGEST_INDEX + 1
    for limit in (limits.max_array_size, limits.max_tasks):
        if limit is not None:
            longest = min(longest, limit)
    if longest < 1:
        raise ValueError("arrays are switched off here (MaxArraySize 0); submit single jobs")
    sent = tasks
    if limits.max_submitted is not None:
        sent = max(0, min(tasks, limits.max_submitted))
    # Each array runs at least one task at once: there are no more arrays than that
    count = min(-(-sent // longest), at_once)
    sent = min(sent, count * longest)
    running = at_once
    if limits.max_running is not None:
        running = max(count, min(at_once, limits.max_running))  # SLURM holds the others itself
    pieces = []
    for length, share in zip(_shares(sent, count), _shares(running, count), strict=True):
        pieces.append(Piece(length, min(share, length)))
    return Split(tuple(pieces), tasks - sent)


def _shares(total: int, count: int) -> list[int]:
    """A number in shares that differ by one at most."""
    shares = []
    for place in range(count):
        shares.append(total // count + (place < total % count))
    return shares


def _part(part: str, expression: str) -> range:
    """The numbers of ``12``, ``4-10`` or ``0-12:4``."""
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{expression!r} is not a list of tasks; expected such as 4-10,12%2")
    first = _index(match[1])
    last = _index(match[2] or match[1])
    step = int(match[3] or 1)
    if last < first or step < 1:
        raise ValueError(f"{part!r} in {expression!r} holds no task; expected such as 4-10")
    return range(first, last + 1, step)


def _index(text: str) -> int:
    number = int(text)
    if number > LARGEST_INDEX:
        raise ValueError(f"{number} is not a task's number; expected 0 to {LARGEST_INDEX}")
    return number
