"""What earlier runs of the job took: the time and GPU-hours to expect, and whether that fits."""

from __future__ import annotations

from collections.abc import Iterator

from hpcdl.formats import several
from hpcdl.job import format_time
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.run.estimate import estimate
from hpcdl.run.next_request import suggested_time_s


def earlier_runs(subject: Subject) -> Iterator[Finding | Note]:
    """The time limit is enough for what most earlier runs took."""
    submission = subject.submission
    runs_root = submission.paths.root.parent.parent
    expected = estimate(runs_root, subject.job, submission.backend)
    if expected is None:
        return
    yield Note(str(expected))
    limit_s = subject.plan.size.time_limit_s
    if limit_s >= expected.p95_s:
        return
    took = f"{several(expected.runs, 'earlier run')} took up to"
    cause = (
        f"resources.time is {format_time(limit_s)}, but {took} "
        f"{format_time(round(expected.p95_s))}: the job would reach its limit"
    )
    enough = format_time(suggested_time_s([expected.p95_s]))
    yield Finding(
        cause, f"ask for more: --set resources.time={enough}", "job", "resources.time", blocks=False
    )


def has_earlier_runs(subject: Subject) -> bool:
    """Whether there may be some."""
    return subject.submission.paths.root.parent.is_dir()
