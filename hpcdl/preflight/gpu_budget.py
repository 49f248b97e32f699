"""Whether the profile's budget of GPU-hours allows the job."""

from __future__ import annotations

from collections.abc import Iterator

from hpcdl.preflight import Finding, Subject
from hpcdl.submission.gpu_budget import asked_gpu_hours, over_budget


def gpu_budget(subject: Subject) -> Iterator[Finding]:
    """What runs have used and reserved, and what this one asks for, is within the budget."""
    runs_root = subject.submission.paths.root.parent.parent
    over = over_budget(subject.cluster, runs_root, asked_gpu_hours(subject.plan))
    if over is not None:
        yield Finding(over.cause, over.fix, "profile", "budget_gpu_hours")


def has_budget(subject: Subject) -> bool:
    """Whether the profile sets one."""
    return subject.cluster.budget_gpu_hours is not None
