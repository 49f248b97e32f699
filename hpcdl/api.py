"""What a Python program calls: `render` and `submit`, which do as the commands of these names do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcdl import packages
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import JobError, Problem, UserError
from hpcdl.job import Job
from hpcdl.mounts.needed import for_render
from hpcdl.planning import Plan, plan, run_spec
from hpcdl.script import render as render_plan
from hpcdl.usercode.source import NOTEBOOK

if TYPE_CHECKING:
    from hpcdl.contract.spec import RunSpec
    from hpcdl.mounts.gathering import Unseen
    from hpcdl.run import Run
    from hpcdl.submission.send import Submission


def render(job: Job | Plan, cluster: Cluster | None = None) -> str:
    """The batch script of a job.

    A script's is complete: send it from the script's folder. A training or a notebook needs more
    than a script: ``hpcdl render -o DIR/`` writes the whole folder. What the container will not
    show is a warning (UserWarning).

    Args:
        job: the job; or a plan of it, for the script that the plan alone gives.
        cluster: where it is to run; with a job, it must be there.

    Returns:
        The text of the script.

    Raises:
        JobError: the cluster cannot do what the job asks; every reason at once.
        UserError: the job is a notebook, the cluster has no container image, or SLURM cannot carry
            a value.
        TypeError: a job without a cluster.
    """
    if isinstance(job, Plan):
        return render_plan(job)
    if cluster is None:
        raise TypeError("render() of a job needs a cluster: render(job, load_cluster(name))")
    if is_notebook(job):
        raise UserError(
            "a notebook becomes a script when it is copied: hpcdl render -o DIR/ does so"
        )
    decided, spec, unseen = plan_to_render(job, cluster, bundle=job.script is None)
    for each in unseen:
        warnings.warn(f"{each.cause}: {each.fix}", stacklevel=2)
    return render_plan(decided, spec=spec)


def plan_to_render(
    job: Job, cluster: Cluster, bundle: bool
) -> tuple[Plan, RunSpec | None, list[Unseen]]:
    """What a batch script that hpcdl does not start itself is rendered from.

    Args:
        job: the job.
        cluster: where it is to run.
        bundle: whether the script lies in a folder with all that it needs.

    Returns:
        The plan, the contract with the trainer (None for a script), and what the container will not show.

    Raises:
        JobError: the cluster cannot do what the job asks; every reason at once.
        UserError: the packages that the job asks for are not installed yet.
    """
    decided = packages.located(plan(job, cluster), cluster)
    packages.require(decided)
    spec = run_spec(job, cluster)
    decided, unseen = for_render(decided, job, spec, bundle)
    return decided, spec, unseen


def is_notebook(job: Job) -> bool:
    """Whether a job's script is a notebook, which runs only from a folder that hpcdl made."""
    return (job.script or "").endswith(NOTEBOOK)


def submit(
    job: Job,
    cluster: Cluster,
    backend: str = "slurm",
    runs_dir: str | None = None,
    check: bool = True,
    command_line: Sequence[str] | None = None,
) -> Run:
    """Check a job and send it.

    What the command line says on the way, such as what this backend does otherwise, is a warning
    (UserWarning).

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
    from hpcdl.submission import send

    prepared = send.prepare(job, cluster, backend, runs_dir)
    send.require_backend(prepared)
    for note in prepared.notes:
        warnings.warn(note, stacklevel=2)
    if check:
        _require_checked(prepared, cluster)
    return send.submit(prepared, sys.argv if command_line is None else command_line)


def _require_checked(prepared: Submission, cluster: Cluster) -> None:
    """Make the checks of ``hpcdl check``.

    Raises:
        JobError: one of them found what would keep the job from running.
    """
    from hpcdl.preflight import Subject
    from hpcdl.preflight.all_checks import check_all, check_python
    from hpcdl.preflight.origin import origin

    checks = check_python if prepared.backend == "local" else check_all
    report = checks(Subject(prepared, cluster))
    problems = []
    for _, finding in report.findings:
        message = f"{finding.cause}; {finding.fix}"
        if finding.blocks:
            problems.append(Problem(origin(finding, prepared.job, cluster), "", message))
        else:
            warnings.warn(message, stacklevel=3)
    if problems:
        raise JobError(
            f"{prepared.job.name} on {cluster.name} cannot run, and was not sent", problems
        )
