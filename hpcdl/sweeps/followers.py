"""sbatch's dependency for a run that comes after runs and sweeps, also when these get new jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcdl.errors import HpcdlError, UserError
from hpcdl.run import states
from hpcdl.run.after import After, followers, read_after
from hpcdl.run.handle import Run
from hpcdl.run.paths import RunPaths, sweep_of
from hpcdl.run.records import Submitted, plan
from hpcdl.scheduler.jobinfo import NEVER_SATISFIED
from hpcdl.text import hpcdl_command

_ENDED_BADLY = (states.FAILED, states.LOST, states.CANCELLED)


@dataclass(frozen=True)
class Moved:
    """What became of a run that waits for another one, when this one got a new job.

    Args:
        run: the waiting run.
        was_cancelled: whether SLURM had cancelled it, so that it must be sent again.
        error: why its dependency could not be moved; empty if it was.
    """

    run: Run
    was_cancelled: bool = False
    error: str = ""


def dependency(after: Sequence[After], cluster: str | None, in_slurm: bool = True) -> str:
    """What follows ``--dependency=``; empty if all have ended already.

    Args:
        after: the runs that come before.
        cluster: the SLURM cluster of the run that comes after them, where a site has several.
        in_slurm: whether that run goes to SLURM.

    Raises:
        UserError: one of them has not ended well, or cannot be waited for.
        SchedulerError: SLURM was asked about one, and did not answer.
    """
    parts = []
    problems = []
    for before in after:
        try:
            part = _dependency_on(before, cluster, in_slurm)
        except UserError as error:
            problems.append(str(error))
            continue
        if part:
            parts.append(part)
    if problems:
        raise UserError("\n".join(problems))
    return ",".join(parts)


def _dependency_on(before: After, cluster: str | None, in_slurm: bool) -> str:
    """The part about one run; empty if it has ended as it should."""
    run = Run(before.run)
    if sweep_of(run.paths) is not None:
        from hpcdl.sweeps.before import dependency_on_sweep  # plain runs do without

        return dependency_on_sweep(before, cluster, in_slurm)
    status = run.status()
    if status.state == states.DONE or (before.any_end and status.final):
        return ""
    cause = f" ({status.cause})" if status.cause and status.cause != status.state else ""
    given = f"--after {run.name}: it is {status.state}{cause}"
    if status.state in _ENDED_BADLY:
        todo = f"send it again with {hpcdl_command('retry', run.paths.root)}, and then this one"
        raise UserError(f"{given}; expected a run that may still succeed: {todo}, or say RUN:any")
    if status.state in (states.CREATED, states.UNKNOWN):
        raise UserError(f"{given}; send it first: {hpcdl_command('resume', run.paths.root)}")
    submitted = Submitted.read(run.paths) or Submitted()
    if not in_slurm or submitted.backend != "slurm" or run.slurm_cluster() != cluster:
        where = "this machine" if submitted.backend == "local" else "another SLURM cluster"
        if not in_slurm:
            where = "a place that --backend local does not watch"
        todo = f"wait for it yourself: {hpcdl_command('wait', run.paths.root)} && hpcdl submit ..."
        raise UserError(f"{given}, on {where}, where SLURM cannot wait for it; {todo}")
    return _on_jobs(before, run, submitted)


def _on_jobs(before: After, run: Run, submitted: Submitted) -> str:
    job_id = submitted.all_job_ids[-1]
    is_chain = not plan(run.paths).get("requeue", True)
    # The rest of a chain is cancelled when the run is done: SLURM cannot tell how it ended, and
    # the job itself looks when it starts.
    kind = "afterany" if before.any_end or is_chain else "afterok"
    return f"{kind}:{job_id}"


def sbatch_options(paths: RunPaths) -> list[str]:
    """sbatch's options for a run that comes after others.

    Raises:
        UserError: one of these has not ended well.
        SchedulerError: SLURM was asked about one, and did not answer.
    """
    after = read_after(paths)
    if not after:
        return []
    found = dependency(after, Run(paths.root).slurm_cluster())
    if not found:
        return []
    # Without the second one SLURM would let it wait for ever if the other run fails.
    return [f"--dependency={found}", "--kill-on-invalid-dep=yes"]


def move_followers(paths: RunPaths) -> list[Moved]:
    """Let the runs that wait for this one wait for its new job.

    Returns:
        what became of each that waits, or was cancelled because this one had failed.
    """
    moved = []
    for folder in followers(paths):
        run = _follower(folder)
        if run is None:
            continue
        try:
            status = run.status()
            if status.state == states.CANCELLED and status.cause == states.DEPENDENCY:
                moved.append(Moved(run, was_cancelled=True))
            elif status.state == states.QUEUED:
                moved.append(_move(run))
        except HpcdlError as error:
            moved.append(Moved(run, error=str(error)))
    return moved


def cancelled_followers(paths: RunPaths) -> list[Run]:
    """The runs that were cancelled because this one had failed."""
    cancelled = []
    for folder in followers(paths):
        run = _follower(folder)
        if run is not None and run.status().cause == states.DEPENDENCY:
            cancelled.append(run)
    return cancelled


def _move(run: Run) -> Moved:
    """Let a run's job wait for what it must wait for now. SLURM's last answer may be too old.

    Raises:
        UserError: another run that it comes after has failed.
        SchedulerError: SLURM did not take it.
    """
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import on_cluster

    job_id = run.job_ids()[0]
    with on_cluster(run.slurm_cluster()):
        job = slurm.queued_jobs().get(job_id)
        if job is not None and job.state == "PENDING":
            slurm.depend(job_id, dependency(read_after(run.paths), run.slurm_cluster()))
            return Moved(run)
    if job is not None and job.reason == NEVER_SATISFIED:
        return Moved(run, was_cancelled=True)
    see = hpcdl_command("status", run.paths.root)
    left = f"its job {job_id} has left the queue; see {see} in a minute"
    return Moved(run, error=f"{left}, and hpcdl retry")


def _follower(folder: Path) -> Run | None:
    """A run that was sent to come after another; None if it was removed or is somebody else's."""
    try:
        run = Run(folder)
        run.require_owner("move")
    except HpcdlError:
        return None
    return run


def require_no_own_dependency(directives: Sequence[tuple[str, str]]) -> None:
    """Make sure that the job has no dependency of its own, which would be lost.

    Raises:
        UserError: it has one.
    """
    own = dict(directives).get("dependency")
    if own is not None:
        raise UserError(
            f"slurm.dependency is {own!r}, and after names runs to wait for; expected one of "
            "them: say all of it in one place"
        )
