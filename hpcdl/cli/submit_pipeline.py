"""``hpcdl submit PIPELINE``: checks all its jobs, then sends them with SLURM's dependencies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.errors import HpcdlError, UserError

if TYPE_CHECKING:
    from hpcdl.cli.submit import Steps
    from hpcdl.cluster import Cluster
    from hpcdl.job.pipeline import Step
    from hpcdl.run import Run
    from hpcdl.submission.send import Submission

    Prepared = tuple[Step, Submission, Cluster]


def submit_pipeline(
    name: str, settings: options.JobSettings, runs_dir: str | None, wanted: Steps
) -> int:
    """Send all jobs of a pipeline; print the path of each run.

    Args:
        name: the pipeline's file.
        settings: the command line's.
        runs_dir: the folder of run folders.
        wanted: which steps of a submission are wanted.

    Returns:
        the exit code: 2 if a job cannot run, and then none is sent; 1 if a job that was sent first
        has failed already, or with --wait if one is not done.
    """
    prepared = _prepare_all(name, settings, runs_dir, wanted.after)
    for step, submission, _ in prepared:
        for note in submission.notes:
            options.say(f"{step.name}: {note}")
    if wanted.dry_run:
        for _, submission, _ in prepared:
            click.echo(submission.script, nl=False)
        return 0
    if not wanted.no_check and not _can_all_run(prepared):
        return 2
    runs, code = _send_all(prepared)
    if not wanted.wait:
        return code
    from hpcdl.cli.watching import follow

    codes = [follow(run) for run in runs]
    return max([code, *codes])


def _prepare_all(
    name: str, settings: options.JobSettings, runs_dir: str | None, after: Sequence[str]
) -> list[Prepared]:
    """Decide everything about all jobs. Nothing is written to disk."""
    from hpcdl.cluster import choose_cluster, load_cluster
    from hpcdl.job.pipeline import load_pipeline
    from hpcdl.submission.after import require_after
    from hpcdl.submission.send import prepare, require_backend

    for text in settings.sets:
        if not text.startswith("cluster."):
            message = f"--set {text}: {name} has several jobs; expected --set cluster.KEY=VALUE"
            raise UserError(f"{message}, or set: [{text}] in one of its steps")
    if settings.gpus is not None or settings.time is not None:
        raise UserError(f"--gpus, --time: {name} has several jobs; say it in its steps: set: [...]")
    steps = load_pipeline(name)
    profile = choose_cluster(settings.cluster)
    prepared = []
    for step in steps:
        cluster = load_cluster(profile, settings.sets, step.job)
        first = () if step.after else after
        submission = prepare(step.job, cluster, "slurm", runs_dir, first)
        require_after(submission.after, submission.plan, in_slurm=True)
        if step.after:
            from hpcdl.run.followers import require_no_own_dependency

            require_no_own_dependency(submission.plan.directives)
        prepared.append((step, submission, cluster))
    require_backend(prepared[0][1])
    _require_budget(prepared)
    return prepared


def _require_budget(prepared: Sequence[Prepared]) -> None:
    """Make sure that the profile's budget allows all jobs together.

    Raises:
        UserError: it does not.
    """
    from hpcdl.submission.gpu_budget import asked_gpu_hours, require_budget

    asked = sum(asked_gpu_hours(submission.plan) for _, submission, _ in prepared)
    _, submission, cluster = prepared[0]
    require_budget(cluster, submission.paths.root.parent.parent, asked)


def _can_all_run(prepared: Sequence[Prepared]) -> bool:
    from hpcdl.cli.submit import check_first

    refused = []
    for step, submission, cluster in prepared:
        if check_first(submission, cluster, is_local=False) is None:
            refused.append(step.name)
    if refused:
        options.say(f"cannot run: {', '.join(refused)}; none of the jobs was sent")
    return not refused


def _send_all(prepared: Sequence[Prepared]) -> tuple[list[Run], int]:
    """Send the jobs one after the other.

    Returns:
        the runs, and 1 if one was not sent because another one has failed meanwhile.

    Raises:
        SchedulerError: SLURM refused one; those before it are sent.
    """
    from hpcdl.run.after import After, split_any
    from hpcdl.submission.send import submit

    runs: dict[str, Run] = {}
    code = 0
    for step, submission, cluster in prepared:
        missing = [name for name in step.before if name not in runs]
        if missing:
            options.say(f"{step.name}: not sent, as {', '.join(missing)} was not")
            continue
        after = list(submission.after)
        for text in step.after:
            name, any_end = split_any(text)
            after.append(After(Path(runs[name].paths.root), any_end))
        try:
            runs[step.name] = submit(replace(submission, after=after), sys.argv)
        except UserError as error:  # a job may fail before the last one is sent
            options.say(f"{step.name}: not sent: {error}")
            code = 1
            continue
        except HpcdlError:
            options.say(f"{step.name} was not sent; sent so far: {', '.join(runs) or 'none'}")
            raise
        run = runs[step.name]
        waits = f" after {', '.join(step.after)}" if step.after else ""
        job_ids = ", ".join(run.job_ids())
        options.say(f"{step.name}: submitted as job {job_ids} on {cluster.name}{waits}")
        click.echo(run.paths.root)
    return list(runs.values()), code
