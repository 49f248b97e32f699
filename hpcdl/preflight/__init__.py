"""The checks before a job may enter the queue: small functions in a list, each says all that it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import HpcdlError, SchedulerError
from hpcdl.modules import module_lines, plan_lines
from hpcdl.oserrors import sentence
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.site import Site, read_site
from hpcdl.submission.send import Submission

__all__ = ["Check", "Finding", "Note", "Report", "Subject", "check"]


@dataclass(frozen=True)
class Finding:
    """One thing that would keep the job from running.

    Args:
        cause: what was given, and what would be right.
        fix: what to do.
        source: where it comes from: ``job``, ``profile``, ``cluster`` (also this machine) or ``--runs-dir``.
        key: the key it comes from, as written there, or empty.
        blocks: whether the job cannot run; else it is a warning.
    """

    cause: str
    fix: str
    source: str
    key: str = ""
    blocks: bool = True


@dataclass(frozen=True)
class Note:
    """Something good to know that is no fault, such as when the job would start."""

    text: str


@dataclass(frozen=True)
class Subject:
    """What is checked: a submission as it would be sent, and the profile it was made with."""

    submission: Submission
    cluster: Cluster

    @property
    def module_lines(self) -> list[str]:
        """The lines that load the site's modules: the batch script's, or for a local run the plan's."""
        script = self.submission.script
        return plan_lines(self.submission.plan) if script is None else module_lines(script)

    @property
    def site(self) -> Site:
        """What SLURM tells of the site. One that does not answer is asked once, not by every check.

        Raises:
            SchedulerError: it did not answer.
        """
        if isinstance(self._answer, SchedulerError):
            raise self._answer
        return self._answer

    @cached_property
    def _answer(self) -> Site | SchedulerError:
        try:
            with on_cluster(self.cluster.clusters):
                return read_site()
        except SchedulerError as error:
            return error


Check = Callable[[Subject], Iterator["Finding | Note"]]


@dataclass(frozen=True)
class Report:
    """What all checks found, by the checks' names, and how long they took."""

    findings: list[tuple[str, Finding]]
    passed: list[str]
    skipped: list[tuple[str, str]]
    notes: list[str]
    seconds: float

    @property
    def blocks(self) -> bool:
        """Whether the job must not be sent."""
        return any(finding.blocks for _, finding in self.findings)


def check(subject: Subject, checks: Sequence[tuple[str, Check]]) -> Report:
    """Run checks, one after the other.

    A check that cannot be made here (SLURM does not answer, the container command is not on this
    machine) refuses nothing: it is skipped, with the reason.
    """
    begun = time.monotonic()
    findings: list[tuple[str, Finding]] = []
    passed: list[str] = []
    skipped: list[tuple[str, str]] = []
    notes: list[str] = []
    for name, function in checks:
        before = len(findings)
        try:
            for one in function(subject):
                if isinstance(one, Note):
                    notes.append(one.text)
                else:
                    findings.append((name, one))
        except HpcdlError as error:
            skipped.append((name, str(error)))
            continue
        except OSError as error:
            skipped.append((name, sentence(error)))
            continue
        if len(findings) == before:
            passed.append(name)
    return Report(findings, passed, skipped, notes, time.monotonic() - begun)
