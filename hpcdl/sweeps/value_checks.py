"""The values of a space, tried against the job's own checks before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hpcdl.errors import JobError, Problem
from hpcdl.job import Job
from hpcdl.sweeps.space import FloatRange, Space
from hpcdl.sweeps.suggest import grid_point, random_point
from hpcdl.sweeps.trial_job import TrialJobs
from hpcdl.text import show

TRIED_TRIALS = 50
_MOST_MESSAGES = 10  # of one key, or of all trials together
JobCheck = Callable[[Job], Sequence[Problem]]


class ValueChecks:
    """Tries values of a space.

    Args:
        job: the sweep's.
        space: what is searched.
        also: a check of a trial's job besides those of a job file.
    """

    def __init__(self, job: Job, space: Space, also: JobCheck) -> None:
        self._space = space
        self._also = also
        self._jobs = TrialJobs(job)
        self._first = {}
        for key in space.names:
            self._first[key] = space.dimensions[key].tried_values()[0]

    def problems_of_first(self) -> list[Problem]:
        """What the check besides says of the job with each key's first value."""
        try:
            return list(self._also(self._jobs.job_of(self._first)))
        except JobError:
            return []  # the values themselves are wrong

    def key_messages(self, key: str) -> list[str]:
        """What is wrong with the ends of a key's range, or with the values that are listed."""
        dimension = self._space.dimensions[key]
        messages = []
        for value in dimension.tried_values():
            problems = self._problems_with({key: value})
            if not problems or not self._problems_with({**self._first, key: value}):
                continue  # with the job's own values of other keys, or with searched ones, it fits
            for problem in problems:
                message = _message(problem, key, value)
                if isinstance(dimension, FloatRange) and "whole number" in message:
                    message += f"; write int:{dimension.low:g}..{dimension.high:g}"
                messages.append(message)
        return _cut(messages)

    def trial_messages(self, method: str, seed: int) -> list[str]:
        """What is wrong with trials whose values do not fit together; some are tried."""
        messages = []
        for number, parameters in self._some_trials(method, seed):
            for problem in self._problems_with(parameters):
                text = ", ".join(f"{key} {show(value)}" for key, value in parameters.items())
                messages.append(f"trial {number} ({text}): {problem.key}: {problem.message}")
        return _cut(messages)

    def _some_trials(self, method: str, seed: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Trials over the whole grid, or the first ones at random."""
        if method != "grid":
            for number in range(TRIED_TRIALS):
                yield number, random_point(self._space, seed, number)
            return
        size = self._space.size or 0
        tried = min(size, TRIED_TRIALS)
        for place in range(tried):
            number = place * size // tried
            yield number, grid_point(self._space, number)

    def _problems_with(self, parameters: Mapping[str, Any]) -> Sequence[Problem]:
        try:
            return self._also(self._jobs.job_of(parameters))
        except JobError as error:
            return error.problems


def _message(problem: Problem, key: str, value: Any) -> str:
    if problem.key == key:
        return f"{show(value)} is refused: {problem.message}"
    return f"{show(value)} is refused: {problem.key}: {problem.message}"


def _cut(messages: Sequence[str]) -> list[str]:
    """The first of many messages, and how many more there are."""
    if len(messages) <= _MOST_MESSAGES:
        return list(messages)
    rest = len(messages) - _MOST_MESSAGES
    return [*messages[:_MOST_MESSAGES], f"{rest} more such problems"]
