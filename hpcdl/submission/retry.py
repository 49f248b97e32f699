"""Sends runs again by the cause of their end: decides from `hpcdl.run.remedies`, and acts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import UserError
from hpcdl.run import Run, records, remedies, states
from hpcdl.run.records import Submitted
from hpcdl.run.remedies import Asked, Decision
from hpcdl.run.state import Status
from hpcdl.submission.again import Changes, gpu_hours_again, nodes_to_avoid, send_again
from hpcdl.sweeps.followers import Moved, sbatch_options
from hpcdl.text import hpcdl_command, with_run


@dataclass(frozen=True)
class Retry:
    """What is done about one run, decided and not done yet.

    Args:
        run: the run.
        status: as it is now.
        decision: whether it is sent.
        changes: what is otherwise then.
        words: on the changes, for the user.
        waits: sbatch's options for the runs that it comes after.
    """

    run: Run
    status: Status
    decision: Decision
    changes: Changes
    words: str = ""
    waits: Sequence[str] = ()

    @property
    def options(self) -> list[str]:
        """sbatch's options that come before those of the batch script."""
        options = [*(self.changes.options or ()), *self.waits]
        if self.changes.avoid and self.run.paths.script.exists():
            from hpcdl.scheduler.excluded_nodes import with_own_excluded

            plan = records.plan(self.run.paths)
            options.append(f"--exclude={with_own_excluded(plan, self.changes.avoid)}")
        return options


def decide_retry(run: Run, asked: Asked, memory_gb: float | None = None) -> Retry:
    """Decide what is done about a run. Nothing is sent or written.

    Args:
        run: the run.
        asked: which runs the user wants to be sent again.
        memory_gb: the memory that the user names, in GB of 1024^3 bytes.

    Raises:
        UserError: it is somebody else's; the memory cannot be had; a run that it comes after has
            failed.
        SchedulerError: SLURM does not answer.
    """
    run.require_owner("retry")
    status = run.status()
    events = records.read_attempts(run.paths)
    decision = remedies.decide(status.state, status.cause, remedies.sent_before(events), asked)
    submitted = Submitted.read(run.paths) or Submitted()
    retry = Retry(run, status, decision, Changes(options=submitted.options))
    if not decision.sends:
        return retry
    if status.state == states.CANCELLED:
        _require_ended(run)
    avoid = set(nodes_to_avoid(run, status))
    if decision.action == remedies.ANOTHER_NODE and status.node:
        avoid.add(status.node)
    waits = sbatch_options(run.paths)
    retry = replace(retry, changes=Changes(sorted(avoid), submitted.options), waits=waits)
    if memory_gb is None and decision.action != remedies.MORE_MEMORY:
        return retry
    return _with_memory(retry, asked, memory_gb)


def _with_memory(retry: Retry, asked: Asked, memory_gb: float | None) -> Retry:
    """The same with more memory."""
    from hpcdl.scheduler.ask_site import read_site
    from hpcdl.scheduler.clusters import on_cluster
    from hpcdl.submission.memory import more_memory

    run = retry.run
    if not run.paths.script.exists():
        if asked.force and memory_gb is None:
            return retry
        raise UserError(
            f"{run.name} runs on this machine, whose memory hpcdl cannot change: end other "
            "programs, or let it need less (a smaller train.batch_size); "
            f"then: {hpcdl_command('retry', run.paths.root, '--force')}"
        )
    plan = records.plan(run.paths)
    before = list(retry.changes.options or ())
    try:
        with on_cluster(run.slurm_cluster()):
            more = more_memory(plan, before, read_site(), memory_gb)
    except UserError as error:
        if asked.force and memory_gb is None:
            return replace(retry, words=f"with the memory that it had: {error}")
        raise UserError(f"{run.name}: {with_run(str(error), run.paths.root)}") from error
    key = more.option.partition("=")[0]
    kept = [option for option in before if option.partition("=")[0] != key]
    return replace(
        retry, changes=replace(retry.changes, options=[*kept, more.option]), words=more.words
    )


def _require_ended(run: Run) -> None:
    """Make sure that nothing of a cancelled run still goes on: two jobs would share its folder.

    Raises:
        UserError: a job or a process of it has not ended.
        SchedulerError: SLURM does not answer.
    """
    from hpcdl.run.evidence import read
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import on_cluster

    jobs: Sequence[str] = ()
    if run.paths.script.exists():
        with on_cluster(run.slurm_cluster()):
            jobs = slurm.jobs_in(run.paths.root)
    else:
        evidence = read(run.paths)
        if evidence.submitted is not None and not evidence.process_gone:
            jobs = [f"process {evidence.submitted.pid}"]
    if jobs:
        raise UserError(
            f"{run.name} was cancelled, and {', '.join(jobs)} of it has not ended yet: "
            "try again in a minute"
        )


def send(retry: Retry, cluster: Cluster | None = None) -> list[Moved]:
    """Do what was decided.

    Args:
        retry: what was decided.
        cluster: the profile, for its budget of GPU-hours; None if there is none to look at.

    Returns:
        the runs that come after it: they wait for its new job.

    Raises:
        UserError: a run that it comes after has failed, or the budget does not allow it.
        SchedulerError: SLURM refused it; the run is as it was before.
    """
    with _within_budget(retry, cluster):
        return send_again(retry.run, retry.status, retry.changes)


def require_retry_budget(retry: Retry, cluster: Cluster | None) -> None:
    """Make sure that the profile's budget of GPU-hours allows what was decided.

    Raises:
        UserError: it does not.
    """
    with _within_budget(retry, cluster):
        pass


def _within_budget(retry: Retry, cluster: Cluster | None) -> AbstractContextManager[None]:
    is_here = not retry.run.paths.script.exists()
    if is_here or cluster is None or cluster.budget_gpu_hours is None:
        return nullcontext()
    from hpcdl.submission.gpu_budget import within_budget

    runs_root = retry.run.paths.root.parent.parent
    return within_budget(cluster, runs_root, gpu_hours_again(retry.run))
