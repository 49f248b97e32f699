"""A sweep that a run comes after: the arrays to wait for, and whether it has ended well.

SLURM can tell when all tasks have ended, but not how the sweep has: a task ends well though all its
trials failed, and one that is killed takes nothing from a sweep whose other tasks do its trials. So
SLURM waits for any end, and the run that comes after looks itself when it starts.
"""

from __future__ import annotations

import shlex

from hpcdl.errors import HpcdlError, UserError
from hpcdl.run import records, states
from hpcdl.run.after import After, Missed, read_after
from hpcdl.run.paths import RunPaths, TrialPaths, run_paths, sweep_of
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.overview import SweepOverview, overview
from hpcdl.sweeps.submitted import SweepSubmitted
from hpcdl.text import hpcdl_command


def dependency_on_sweep(before: After, cluster: str | None, in_slurm: bool) -> str:
    """The part of sbatch's dependency about a sweep; empty if it has ended as it should.

    Args:
        before: the sweep, and whether it may end in any way.
        cluster: the SLURM cluster of the run that comes after it, where a site has several.
        in_slurm: whether that run goes to SLURM.

    Raises:
        UserError: it has not ended well, cannot be waited for, or is a trial.
        SchedulerError: SLURM did not answer.
    """
    of_run = run_paths(before.run)
    if isinstance(of_run, TrialPaths):
        raise UserError(
            f"--after {before.run}: it is a sweep's trial, which any of its tasks may run; "
            f"expected a run or a whole sweep: --after {shlex.quote(str(of_run.sweep.root))}"
        )
    paths = SweepPaths(before.run)
    sweep = overview(paths)
    if _is_done(sweep) or (before.any_end and sweep.final):
        return ""
    given = f"--after {before.name}: it is {_state_of(sweep)}"
    if sweep.final:
        again = hpcdl_command("retry", paths.root)
        raise UserError(
            f"{given}; expected a sweep that may still have a trial that is done: send its trials "
            f"again with {again}, and then this one, or say SWEEP:any"
        )
    if sweep.state == states.CREATED:
        raise UserError(f"{given}; send it first: {hpcdl_command('retry', paths.root)}")
    return _on_arrays(paths, given, cluster, in_slurm)


def _on_arrays(paths: SweepPaths, given: str, cluster: str | None, in_slurm: bool) -> str:
    """``afterany`` of the arrays of which a task waits or runs."""
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import cluster_of, on_cluster

    submitted = SweepSubmitted.read(paths)
    own_cluster = cluster_of(records.plan(paths.run))
    if not in_slurm or submitted is None or submitted.backend != "slurm" or own_cluster != cluster:
        where = "a place that --backend local does not watch"
        if in_slurm:
            where = "another SLURM cluster"
            if submitted is None or submitted.backend != "slurm":
                where = "this machine"
        todo = f"wait for it yourself: {hpcdl_command('wait', paths.root)}"
        message = f"{given}, on {where}, where SLURM cannot wait for it"
        raise UserError(f"{message}; {todo} && hpcdl submit ...")
    with on_cluster(own_cluster):
        living = {task.partition("_")[0] for task in slurm.living_tasks()}
    arrays = [job_id for job_id in submitted.job_ids if job_id in living]
    return ":".join(["afterany", *arrays]) if arrays else ""


def missed_sweeps(paths: RunPaths) -> list[Missed]:
    """The sweeps that should be done before this run, and are not. SLURM tells of their tasks.

    A sweep whose folder was removed is not among them: nothing is known of it.
    """
    missed = []
    for before in read_after(paths):
        before_paths = RunPaths(before.run)
        is_sweep = before_paths.manifest.exists() and sweep_of(before_paths) is not None
        if before.any_end or not is_sweep:
            continue
        try:
            sweep = overview(SweepPaths(before.run))
        except (HpcdlError, OSError):
            missed.append(Missed(before.name, None))
            continue
        if not _is_done(sweep):
            missed.append(Missed(before.name, _state_of(sweep) if sweep.final else None))
    return missed


def _is_done(sweep: SweepOverview) -> bool:
    """Whether a sweep has ended, and has a best trial."""
    return sweep.state == states.DONE and bool(sweep.best(1))


def _state_of(sweep: SweepOverview) -> str:
    if sweep.state == states.DONE:
        return f"done, without a value of {sweep.settings.metric}"
    return sweep.state
