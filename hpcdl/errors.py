"""Everything that hpcdl raises on purpose, and the exit code each class ends with.

    HpcdlError                 exit 1: the world failed
    ├── UserError              exit 2: something the user wrote or typed is wrong
    │   ├── JobError           the job file or a --set, all its problems at once
    │   ├── ClusterError       the cluster profile, likewise
    │   └── NoRunError         no run fits the name that was given
    ├── SchedulerError         SLURM refused or did not answer
    ├── ContainerError         the container command or the image failed
    └── RunError               a run folder is not there or cannot be read

An expected error is one clear message: what was given, what was expected, what
to do. The command line turns it into text and an exit code; anything else that
surfaces is a bug and shows its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class HpcdlError(Exception):
    """The base of all expected errors."""

    exit_code = 1


class UserError(HpcdlError):
    """Something that the user wrote or typed is wrong."""

    exit_code = 2


class Problem(NamedTuple):
    """One thing that is wrong in a file: where it stands, which key, what was expected."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.where, self.key, self.message) if part)
        return "".join(
            c if c.isprintable() else ascii(c)[1:-1] for c in text
        )  # a file's text is not for the terminal


class ProblemsError(UserError):
    """Several problems of one file, reported together."""

    def __init__(self, title: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{title}: {_count(len(self.problems))}{lines}")


class JobError(ProblemsError):
    """A job file that cannot be run as it stands."""


class ClusterError(ProblemsError):
    """A cluster profile that cannot be used as it stands."""


class NoRunError(UserError):
    """There is no run of the name that was given."""


class SchedulerError(HpcdlError):
    """SLURM refused, or did not answer."""


class ContainerError(HpcdlError):
    """The container command or the image failed."""


class RunError(HpcdlError):
    """A run folder is not there, or what is in it cannot be read."""


def _count(n: int) -> str:
    return "1 problem" if n == 1 else f"{n} problems"
