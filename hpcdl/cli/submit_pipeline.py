"""``hpcdl submit PIPELINE``: checks all its jobs, then sends them with SLURM's dependencies.

On this machine they run one after the other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    from hpcdl.submission.prepare import Submission

    Prepared = tuple[Step, Submission, Cluster]

_LEFT = 130  # what `follow` gives when the user leaves by Ctrl-C


@dataclass(frozen=True)
class Where:
    """Where the jobs of a pipeline run.

    Args:
        settings: the command line's, with the profile.
        backend: "slurm", or "local" for this machine.
        runs_dir: the folder of run folders; None for the profile's.
    """

    settings: options.JobSettings
    backend: str
    runs_dir: str | None

    @property
    def is_local(self) -> bool:
        """Whether this machine runs them."""
        return self.backend == "local"


def submit_pipeline(name: str, where: Where, wanted: Steps) -> int:
    """Send all jobs of a pipeline; print the path of each run.

    Args:
        name: the pipeline's file.
        where: where they run.
        wanted: which steps of a submission are wanted.

    Returns:
        the exit code: 2 if a job cannot run, and then none is sent; 1 if a job that was sent first
        has failed already, or with --wait or on this machine if one is not done.
    """
    prepared = _prepare_all(name, where, wanted.after)
    for step, submission, _ in prepared:
        for note in submission.notes:
            options.say(f"{step.name}: {note}")
    if wanted.dry_run:
        from hpcdl.cli.submit import print_script

        for _, submission, _ in prepared:
            print_script(submission)
        return 0
    if not wanted.no_check and not _can_all_run(prepared, where):
        return 2
    if where.is_local:
        return _run_all_here(prepared)
    runs, code = _send_all(prepared)
    if not wanted.wait:
        return code
    from hpcdl.cli.watching import follow

    codes = [follow(run) for run in runs]
    return max([code, *codes])


def _prepare_all(name: str, where: Where, after: Sequence[str]) -> list[Prepared]:
    """Decide everything about all jobs. Nothing is written to disk."""
    from hpcdl.cluster import load_cluster
    from hpcdl.job.command import with_runs
    from hpcdl.job.pipeline import load_pipeline
    from hpcdl.submission.after import require_after
    from hpcdl.submission.prepare import prepare
    from hpcdl.submission.send import require_backend

    settings = where.settings
    for text in settings.sets:
        if not text.startswith("cluster."):
            message = f"--set {text}: {name} has several jobs; expected --set cluster.KEY=VALUE"
            raise UserError(f"{message}, or set: [{text}] in one of its steps")
    if settings.gpus is not None or settings.time is not None:
        raise UserError(f"--gpus, --time: {name} has several jobs; say it in its steps: set: [...]")
    steps = load_pipeline(name)
    profile = options.profile_of(settings.cluster, "local" if where.is_local else None)
    prepared: list[Prepared] = []
    folders: dict[str, str] = {}
    for step in steps:
        cluster = load_cluster(profile, settings.sets, step.job)
        first = () if step.after else after
        job = replace(step.job, hpcdl=with_runs(step.job.hpcdl, folders))
        submission = prepare(job, cluster, where.backend, where.runs_dir, first)
        submission = _on_sets_made_before(step, submission, prepared)
        folders[step.name] = str(submission.paths.root)
        require_after(submission.after, submission.plan, in_slurm=not where.is_local)
        if step.after:
            from hpcdl.sweeps.followers import require_no_own_dependency

            require_no_own_dependency(submission.plan.directives)
        prepared.append((step, submission, cluster))
    require_backend(prepared[0][1])
    if not where.is_local:
        _require_budget(prepared)
    return prepared


def _on_sets_made_before(
    step: Step, submission: Submission, prepared: Sequence[Prepared]
) -> Submission:
    """A step's submission with the data sets that the steps before it make.

    A packed set is a folder. While it is not there, a set's name means an .npz file.
    """
    from hpcdl.cli.step_command import made_by

    names, made = set(step.before), list[str]()
    for other, earlier, _ in reversed(prepared):
        if other.name in names:
            names.update(other.before)
            made += made_by(earlier.plan.program)
    spec = submission.spec
    if spec is not None and spec.data.name is not None and submission.cluster is not None:
        folder = os.path.normpath(os.path.join(submission.cluster.data_root, spec.data.name))
        if folder in made:
            spec = replace(spec, data=replace(spec.data, path=folder))
    return replace(submission, spec=spec, made_before=made)


def _require_budget(prepared: Sequence[Prepared]) -> None:
    """Make sure that the profile's budget allows all jobs together.

    Raises:
        UserError: it does not.
    """
    from hpcdl.submission.gpu_budget import asked_gpu_hours, require_budget

    asked = sum(asked_gpu_hours(submission.plan) for _, submission, _ in prepared)
    _, submission, cluster = prepared[0]
    require_budget(cluster, submission.paths.root.parent.parent, asked)


def _can_all_run(prepared: Sequence[Prepared], where: Where) -> bool:
    from hpcdl.cli.submit import check_first

    refused = []
    for step, submission, cluster in prepared:
        if check_first(submission, cluster, where.is_local) is None:
            refused.append(step.name)
    if refused:
        options.say(f"cannot run: {', '.join(refused)}; none of the jobs was sent")
    return not refused


def _run_all_here(prepared: Sequence[Prepared]) -> int:
    """Run the jobs on this machine, each when those before it have ended; the exit code."""
    from hpcdl.cli.watching import follow
    from hpcdl.submission.send import submit

    runs: dict[str, Run] = {}
    codes: list[int] = []
    for step, submission, _ in prepared:
        missing = [name for name in step.before if name not in runs]
        if missing:
            options.say(f"{step.name}: not started, as {', '.join(missing)} was not")
            continue
        try:
            run = submit(_after_runs(step, submission, runs), sys.argv)
        except UserError as error:
            options.say(f"{step.name}: not started: {error}")
            codes.append(1)
            continue
        runs[step.name] = run
        options.say(f"{step.name}: started on this machine{_command_of(submission)}")
        click.echo(run.paths.root)
        codes.append(follow(run))
        if codes[-1] == _LEFT:
            options.say("the steps after it are not started")
            return _LEFT
    return max(codes)


def _after_runs(step: Step, submission: Submission, runs: Mapping[str, Run]) -> Submission:
    """A step's submission, to come after the runs of the steps before it."""
    from hpcdl.run.after import After, split_any

    after = list(submission.after)
    for text in step.after:
        name, any_end = split_any(text)
        after.append(After(Path(runs[name].paths.root), any_end))
    return replace(submission, after=after)


def _command_of(submission: Submission) -> str:
    """The command that a step is, for the line that says that it was sent."""
    from hpcdl.job.command import shown_command
    from hpcdl.planning import Command

    program = submission.plan.program
    return f": {shown_command(program.words)}" if isinstance(program, Command) else ""


def _send_all(prepared: Sequence[Prepared]) -> tuple[list[Run], int]:
    """Send the jobs one after the other.

    Returns:
        the runs, and 1 if one was not sent because another one has failed meanwhile.

    Raises:
        SchedulerError: SLURM refused one; those before it are sent.
    """
    from hpcdl.submission.send import submit

    runs: dict[str, Run] = {}
    code = 0
    for step, submission, cluster in prepared:
        missing = [name for name in step.before if name not in runs]
        if missing:
            options.say(f"{step.name}: not sent, as {', '.join(missing)} was not")
            continue
        try:
            runs[step.name] = submit(_after_runs(step, submission, runs), sys.argv)
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
        sent = f"submitted as job {job_ids} on {cluster.name}{waits}"
        options.say(f"{step.name}: {sent}{_command_of(submission)}")
        click.echo(run.paths.root)
    return list(runs.values()), code
