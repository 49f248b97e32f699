"""Makes a sweep's folder, sends it, and adds trials to it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcdl import packages
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import RunError, SchedulerError, UserError
from hpcdl.files import others_could_write, write_text
from hpcdl.job import Job
from hpcdl.run.paths import RunPaths, code_folder
from hpcdl.script import Sent, render_submission
from hpcdl.submission.create import Origin, make
from hpcdl.submission.new_tasks import NewTasks
from hpcdl.submission.prepare import Submission, prepare
from hpcdl.submission.send import require_backend
from hpcdl.submission.sweep_tasks import (
    is_requeued,
    living_tasks,
    note_sent,
    send_reserves,
    send_tasks,
)
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.followers import Moved
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SentArray
from hpcdl.text import hpcdl_command
from hpcdl.worker.command import python_options


@dataclass(frozen=True)
class SweepSubmission:
    """A sweep that is ready to be made and sent.

    Args:
        submission: as for a run; its script is that of the tasks.
        settings: what is searched.
        tasks: how many tasks are sent.
        at_once: how many of them run at the same time.
        cluster: the profile, for the site's limits.
    """

    submission: Submission
    settings: SweepSettings
    tasks: int
    at_once: int
    cluster: Cluster

    @property
    def paths(self) -> SweepPaths:
        """The sweep's folder, which does not exist yet."""
        return SweepPaths(self.submission.paths.root)


def prepare_sweep(
    job: Job,
    cluster: Cluster,
    settings: SweepSettings,
    backend: str = "slurm",
    runs_dir: str | None = None,
) -> SweepSubmission:
    """Decide everything about a sweep. Nothing is written to disk.

    Args:
        job: the job, without the trials' parameters.
        cluster: where it runs.
        settings: what is searched.
        backend: "slurm", or "local" for this machine.
        runs_dir: where the sweep's folder goes, instead of the cluster's runs_root.

    Raises:
        UserError: the cluster cannot do it, or SLURM cannot carry a value.
    """
    submission = prepare(job, cluster, backend, runs_dir)
    plan, root = submission.plan, submission.paths.root
    settings_here = _with_size(settings, plan.size.gpus)
    if backend == "slurm":
        python = plan.modules.host_python or sys.executable
        code = str(code_folder(root.parent.parent, submission.code_sha))
        worker = [python, *python_options(), "-u", "-m", "hpcdl.launch.sweep_worker", str(root)]
        sent = Sent(str(root), code, worker, f"{root}/logs/%A_%a.out", is_array=True)
        submission = replace(submission, script=render_submission(plan, sent))
    goes_on = backend == "local" or plan.policy.requeue
    tasks, at_once = tasks_for(settings_here, settings.trials, goes_on)
    return SweepSubmission(submission, settings_here, tasks, at_once, cluster)


def tasks_for(settings: SweepSettings, trials: int, goes_on: bool = True) -> tuple[int, int]:
    """How many tasks a number of trials needs, and how many of them run at once.

    Args:
        settings: the sweep's.
        trials: how many are to run.
        goes_on: whether a task is requeued after its time limit; else each trial has one.
    """
    slots = settings.trials_per_gpu
    most = _divided(trials, slots)
    at_once = min(_divided(settings.at_once, slots), most)
    if not goes_on:
        return most, at_once
    tasks = at_once
    if settings.trials_per_task is not None:
        tasks = max(at_once, _divided(trials, slots * settings.trials_per_task))
    return tasks, at_once


def send_sweep(prepared: SweepSubmission, command_line: Sequence[str] = ()) -> SweepPaths:
    """Make the sweep's folder and send its tasks.

    Args:
        prepared: from `prepare_sweep`.
        command_line: what the user typed, for the manifest.

    Raises:
        UserError: the profile's budget of GPU-hours does not allow it.
        RunError: the folder cannot be made, or others could write into it.
        SchedulerError: SLURM refused the tasks; the folder stays.
    """
    submission = prepared.submission
    require_backend(submission)
    packages.require(submission.plan)
    _refuse_other_sweep(prepared.paths, prepared.settings)
    with submission.within_budget(prepared.tasks, prepared.settings.gpu_hours):
        _make_and_send(prepared, command_line)
    return prepared.paths


def _make_and_send(prepared: SweepSubmission, command_line: Sequence[str]) -> None:
    submission, paths = prepared.submission, prepared.paths

    def fill(aside: RunPaths) -> None:
        folder = SweepPaths(aside.root)
        for name in (folder.tasks, folder.claims, folder.open, folder.trials):
            name.mkdir()
        prepared.settings.write(folder)
        if submission.script is not None:
            write_text(aside.script, submission.script)

    origin = Origin(command_line, submission.code_sha, fill, submission.profile_file)
    make(submission.paths, submission.job, submission.plan, submission.spec, origin)
    fault = others_could_write(paths.root)
    if fault:
        message = f"{paths.root} {fault}, so the tasks would not run what lies there"
        raise RunError(f"{message}; choose another --runs-dir")
    try:
        sent = send_tasks(paths, prepared.tasks, prepared.at_once, cluster=prepared.cluster)
    except SchedulerError as error:
        raise SchedulerError(
            f"{error}\nThe sweep was made, and is sent with: {hpcdl_command('retry', paths.root)}"
        ) from error
    send_reserves(paths, sent, prepared.at_once, prepared.cluster)


def decide_more(paths: SweepPaths, trials: int, cluster: Cluster | None = None) -> NewTasks:
    """Decide how many tasks more trials need, besides those that still run. Nothing is sent.

    Args:
        paths: the sweep's.
        trials: how many more.
        cluster: the profile; None to go by SLURM's limits alone.

    Raises:
        UserError: the sweep was cancelled.
        SchedulerError: SLURM did not answer.
    """
    if paths.cancelled.exists():
        raise UserError(
            f"{paths.root} was cancelled; if it is to go on after all: "
            f"{hpcdl_command('retry', paths.root, '--cause', 'cancelled')}, and then this"
        )
    settings = SweepSettings.read(paths)
    tasks, at_once = tasks_for(settings, trials, is_requeued(paths))
    if is_requeued(paths):
        # A task that runs now may have looked at the budget just before: at least one is new
        tasks = max(1, tasks - living_tasks(paths))
    return NewTasks(paths, trials, tasks, at_once, cluster=cluster)


def send_more(more: NewTasks) -> list[Moved]:
    """Raise a sweep's number of trials, and send tasks for them.

    Args:
        more: from `decide_more`.

    Returns:
        the runs that come after the sweep: they wait for these tasks, too.

    Raises:
        UserError: the profile's budget of GPU-hours does not allow them.
        SchedulerError: SLURM refused the tasks; the number of trials is raised.
    """
    paths = more.paths
    with more.within_budget():
        now = time.time()
        note_sent(paths, SentArray(job_id=None, tasks=0, at_once=0, sent=now, trials=more.trials))
        paths.stop.unlink(missing_ok=True)
        return more.send()


def _refuse_other_sweep(paths: SweepPaths, settings: SweepSettings) -> None:
    """Refuse a folder in which another sweep is.

    Raises:
        UserError: it has another one, with the settings that differ.
    """
    if not paths.sweep.exists():
        return
    keys = SweepSettings.read(paths).differing_keys(settings)
    differ = f"its {', '.join(keys)} differ" if keys else "it is the same sweep"
    raise UserError(
        f"{paths.root} holds a sweep already, and {differ}; choose another folder, or add trials"
        f" with: {hpcdl_command('sweep', 'more', paths.root, '--trials', 'N')}"
    )


def _with_size(settings: SweepSettings, gpus: int) -> SweepSettings:
    import msgspec

    return msgspec.structs.replace(settings, gpus=gpus)


def _divided(number: int, by: int) -> int:
    """A division that rounds up."""
    return -(-number // by)
