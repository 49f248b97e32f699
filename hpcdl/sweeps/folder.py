"""Every path of a sweep's folder, by name. Nobody else joins them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hpcdl.run.paths import OPEN, SWEEP, TRIALS, RunPaths, TrialPaths

_NUMBER = re.compile(r"0[0-9]{4}|[1-9][0-9]{4,8}")
_TAKEN = re.compile(r"\.([0-9]{5,9})\.(.+)")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class SweepPaths:
    """The files of the sweep folder ``root``: ``<runs_root>/<name>/<sweep_id>``.

    A task's key is ``<array's job id>_<task>``, with ``.<slot>`` if it runs several trials at once.
    """

    root: Path

    @property
    def sweep(self) -> Path:
        """What is searched: space, method, metric, budget, seed."""
        return self.root / SWEEP

    @property
    def submitted(self) -> Path:
        """Where its tasks were sent."""
        return self.root / "submitted.json"

    @property
    def run(self) -> RunPaths:
        """What a sweep has in common with a run: job, plan, manifest, script, logs."""
        return RunPaths(self.root)

    def task_stop(self, key: str) -> Path:
        """A marker: the task's trials save and stop, and the task ends."""
        return self.root / f"stop.{check_key(key)}"

    @property
    def tasks(self) -> Path:
        """The folder of the tasks' logs."""
        return self.root / "tasks"

    def task_log(self, key: str) -> Path:
        """What one task has to say; nobody else writes into it."""
        return self.tasks / f"{check_key(key)}.jsonl"

    @property
    def claims(self) -> Path:
        """The folder of the claims."""
        return self.root / "claims"

    def claim(self, number: int) -> Path:
        """Who has a trial: a symbolic link to the key of its task."""
        return self.claims / number_name(number)

    def new_claim(self, number: int, key: str) -> Path:
        """A claim that is about to replace another one."""
        return self.claims / f".{number_name(number)}.{key}"

    @property
    def open(self) -> Path:
        """The folder of the trials that are offered again."""
        return self.root / OPEN

    def offer(self, number: int) -> Path:
        """An empty file that offers a trial."""
        return self.open / number_name(number)

    def taken_offer(self, number: int, key: str) -> Path:
        """An offer that a task has taken, until the trial is its own."""
        return self.open / f".{number_name(number)}.{key}"

    @property
    def trials(self) -> Path:
        """The folder of the trials' folders."""
        return self.root / TRIALS

    def trial(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.trials / number_name(number)

    def trial_run(self, number: int) -> TrialPaths:
        """A trial's files."""
        return TrialPaths(self.trial(number))

    def trial_file(self, number: int) -> Path:
        """A trial's number, parameters and task."""
        return self.trial(number) / "trial.json"

    def result(self, number: int) -> Path:
        """How a trial ended."""
        return self.trial(number) / "result.json"

    @property
    def stop(self) -> Path:
        """A marker: trials that run go on, no other one begins."""
        return self.root / "stop"

    @property
    def cancelled(self) -> Path:
        """A marker: nothing goes on."""
        return self.root / "cancelled"

    @property
    def notified(self) -> Path:
        """A marker: a task runs the user's command about the sweep's end, or has run it."""
        return self.root / "notified"

    @property
    def index(self) -> Path:
        """The logs' fold, kept to read only what is new; a cache."""
        return self.root / "index.json"

    def claimed_numbers(self) -> list[int]:
        """The numbers of all trials that somebody has claimed, sorted."""
        return _numbers_in(self.claims)

    def trial_numbers(self) -> list[int]:
        """The numbers of all trials that have a folder, sorted.

        A copy may have these without the claims: not every program copies symbolic links.
        """
        return _numbers_in(self.trials)

    def offered_numbers(self) -> list[int]:
        """The numbers of all trials that are offered and not taken yet, sorted."""
        return _numbers_in(self.open)

    def taken_offers(self) -> list[tuple[int, str]]:
        """The number and the key of each offer that was taken and is not settled yet."""
        offers = []
        for name in sorted(_names_in(self.open)):
            match = _TAKEN.fullmatch(name)
            if match:
                offers.append((int(match[1]), match[2]))
        return offers

    def owner(self, number: int) -> str | None:
        """The key of the task that has a trial; None if nobody has claimed it."""
        try:
            return os.readlink(self.claim(number))
        except FileNotFoundError:
            return None


def number_name(number: int) -> str:
    """A trial's number as a file name."""
    return f"{number:05d}"


def check_key(key: str) -> str:
    """A task's key as it is.

    Raises:
        ValueError: it cannot be a file's name.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a task's key; expected letters, digits, _, ., -")
    return key


def _numbers_in(folder: Path) -> list[int]:
    numbers = []
    for name in _names_in(folder):
        if _NUMBER.fullmatch(name):
            numbers.append(int(name))
    numbers.sort()
    return numbers


def _names_in(folder: Path) -> list[str]:
    """The names in a folder; none if it is gone: a copy may lack an empty one."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
