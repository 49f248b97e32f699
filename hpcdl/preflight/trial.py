"""SLURM's own test of the script: whether it would take the job, and when that would start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from hpcdl.formats import waiting_time
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.try_script import RefusedError, try_script

TRIAL = "sbatch --test-only"  # how reports call this check


def trial(subject: Subject, options: Sequence[str] = ()) -> Iterator[Finding | Note]:
    """SLURM would take exactly this script (``sbatch --test-only``), and when it would start.

    Args:
        subject: what would be sent.
        options: of sbatch, in addition to those in the script.
    """
    _ = subject.slurm_site  # raises an error if SLURM does not answer: then it is not asked again
    try:
        with on_cluster(subject.cluster.clusters):
            words = try_script(subject.submission.script or "", options)
    except RefusedError as error:
        fix = "read what would be sent: hpcdl submit --dry-run"
        what = " with ".join(["it", *options])
        yield Finding(f"SLURM refuses {what}: {error}", fix, "cluster")
        return
    match = re.search(r"to start at (\d+-\d+-\d+T\d+:\d+:\d+)", words)
    if match:
        yield Note(would_start(datetime.fromisoformat(match[1]), datetime.now()))


def would_start(start: datetime, now: datetime) -> str:
    """SLURM's estimate for people; both times are local."""
    minutes = max(0, round((start - now).total_seconds() / 60))
    if minutes < 1:
        return "would start now"
    day = "" if start.date() == now.date() else f"{start:%Y-%m-%d} "
    return f"would start about {day}{start:%H:%M}, in {waiting_time(minutes)} (SLURM's estimate)"
