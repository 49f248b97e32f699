"""The checks before a job enters the queue: what they check, what they find, how they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hpcdl.cluster.schema import Cluster
from hpcdl.contract.spec import RunSpec
from hpcdl.errors import HpcdlError, SchedulerError
from hpcdl.job import Job
from hpcdl.oserrors import sentence
from hpcdl.planning import Plan
from hpcdl.preflight.image_sets import Looked, look
from hpcdl.scheduler.ask_site import read_site
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.site import Site
from hpcdl.submission.prepare import Submission

__all__ = ["Check", "Finding", "Note", "Report", "Subject", "check"]


@dataclass(frozen=True)
class Finding:
    """Something that would keep the job from running.

    Args:
        cause: what was given, and what was expected.
        fix: what to do.
        source: where the user gave it: ``job``, ``profile`` or ``--runs-dir``; ``cluster`` if it
            is about the cluster or this machine.
        key: the key that was given there, or "".
        blocks: whether the job cannot run; if not, it is a warning.
    """

    cause: str
    fix: str
    source: str
    key: str = ""
    blocks: bool = True


@dataclass(frozen=True)
class Note:
    """Something good to know that is not a fault, such as when the job would start."""

    text: str


@dataclass(frozen=True)
class Subject:
    """What is checked: a submission as it would be sent, and the profile of its cluster."""

    submission: Submission
    cluster: Cluster

    @property
    def job(self) -> Job:
        """What the user asks for."""
        return self.submission.job

    @property
    def plan(self) -> Plan:
        """How the job would run on this cluster."""
        return self.submission.plan

    @property
    def spec(self) -> RunSpec | None:
        """What the trainer gets; None for a script job."""
        return self.submission.spec

    @cached_property
    def images_in_files(self) -> Looked | None:
        """What a look at the data set gave. It is looked at once, however large it is.

        Returns:
            None if its images lie in arrays, or nothing is there.

        Raises:
            OSError: it cannot be read.
        """
        if self.spec is None or self.spec.data.path is None:
            return None
        path = Path(self.spec.data.path)
        return look(path, self.spec.data) if path.is_dir() else None

    @property
    def module_lines(self) -> list[str]:
        """The lines that load the site's modules, as the batch script does; see `Plan`."""
        return self.plan.module_lines(with_host=self.submission.backend == "slurm")

    @property
    def slurm_site(self) -> Site:
        """What SLURM says about its site. It is asked once, even if it does not answer.

        Raises:
            SchedulerError: SLURM did not answer.
        """
        if isinstance(self._slurm_answer, SchedulerError):
            raise self._slurm_answer
        return self._slurm_answer

    @cached_property
    def _slurm_answer(self) -> Site | SchedulerError:
        try:
            with on_cluster(self.cluster.clusters):
                return read_site()
        except SchedulerError as error:
            return error


Check = Callable[[Subject], Iterator["Finding | Note"]]


@dataclass(frozen=True)
class Report:
    """What all checks found.

    Args:
        findings: (check, finding) for each finding.
        passed: the checks that found nothing.
        skipped: (check, reason) for those that could not be made.
        notes: what is good to know.
        seconds: how long all of it took.
    """

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

    A check that cannot be made here is skipped with the reason, and refuses nothing. For example,
    SLURM may not answer, or this machine may not have the container command.
    """
    begun = time.monotonic()
    findings: list[tuple[str, Finding]] = []
    passed: list[str] = []
    skipped: list[tuple[str, str]] = []
    notes: list[str] = []
    for name, function in checks:
        before = len(findings)
        try:
            for result in function(subject):
                if isinstance(result, Note):
                    notes.append(result.text)
                else:
                    findings.append((name, result))
        except HpcdlError as error:
            skipped.append((name, str(error)))
            continue
        except OSError as error:
            skipped.append((name, sentence(error)))
            continue
        if len(findings) == before:
            passed.append(name)
    return Report(findings, passed, skipped, notes, time.monotonic() - begun)
