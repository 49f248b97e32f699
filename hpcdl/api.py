"""What a Python program calls: `render` and `submit`, which do as the commands of these names do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcdl import packages
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import JobError, Problem
from hpcdl.job import Job
from hpcdl.planning import Plan, plan, run_spec
from hpcdl.run import Run
from hpcdl.script import render as render_plan
from hpcdl.shown import for_render

if TYPE_CHECKING:
    from hpcdl.submission import Submission


def render(job: Job | Plan, cluster: Cluster | None = None) -> str:
    """The batch script of a job.

    A script's is complete: send it from the script's folder. A training needs more than a
    script: ``hpcdl render -o DIR/`` writes the whole folder.

    Args:
        job: the job; or a plan of it, for the script that the plan alone gives.
        cluster: where it is to run; with a job, it must be there.

    Returns:
        The text of the script.

    Raises:
        JobError: the cluster cannot do what the job asks; every reason at once.
        UserError: the cluster has no container image, or SLURM cannot carry a value.
        TypeError: a job without a cluster.
    """
    if isinstance(job, Plan):
        return render_plan(job, bundle=job.script is None)
    if cluster is None:
        raise TypeError("render() of a job needs a cluster: render(job, load_cluster(name))")
    decided = packages.located(plan(job, cluster), cluster)
    packages.require(decided)
    spec = run_spec(job, cluster)
    is_training = decided.script is None
    decided, _ = for_render(decided, job, spec, bundle=is_training)
    return render_plan(decided, bundle=is_training, spec=spec)


def submit(
    job: Job,
    cluster: Cluster,
    backend: str = "slurm",
    runs_dir: str | None = None,
    check: bool = True,
    command_line: Sequence[str] | None = None,
) -> Run:
    """Check a job and send it.

    Args:
        job: the job.
        cluster: where it runs; for the local backend most often ``load_cluster("local")``.
        backend: "slurm", or "local" for this machine.
        runs_dir: where run folders go, instead of the cluster's runs_root.
        check: whether what cannot run is refused before it is sent.
        command_line: what the run's manifest says it was sent with; None for this program's.

    Returns:
        The run, which has begun on the local backend, and is in the queue on SLURM.

    Raises:
        JobError: the job cannot run; every reason at once, and nothing was sent.
        UserError: the cluster cannot do it, or SLURM cannot carry a value.
        RunError: the run folder cannot be made.
        SchedulerError: there is no SLURM here, or it refused the job.
    """
    from hpcdl import submission

    prepared = submission.prepare(job, cluster, backend, runs_dir)
    submission.require_backend(prepared)
    if check:
        _require_checked(prepared, cluster)
    return submission.submit(prepared, sys.argv if command_line is None else command_line)


def _require_checked(prepared: Submission, cluster: Cluster) -> None:
    """Make the checks of ``hpcdl check``.

    Raises:
        JobError: one of them found what would keep the job from running.
    """
    from hpcdl.preflight import Subject
    from hpcdl.preflight.order import check_all, check_python
    from hpcdl.preflight.origin import origin

    checks = check_python if prepared.backend == "local" else check_all
    report = checks(Subject(prepared, cluster))
    problems = []
    for _, finding in report.findings:
        if finding.blocks:
            place = origin(finding, prepared.job, cluster)
            problems.append(Problem(place, "", f"{finding.cause}; {finding.fix}"))
    if problems:
        raise JobError(f"{prepared.job.name} on {cluster.name} cannot run, and was not sent", problems)
