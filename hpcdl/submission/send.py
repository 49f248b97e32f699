"""submit(job, cluster) -> Run: plan, script, run folder, executor, in that order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcdl import local_machine, packages
from hpcdl.cluster.schema import Cluster
from hpcdl.contract.spec import RunSpec
from hpcdl.errors import RunError, SchedulerError, UserError
from hpcdl.files import others_could_write, write_json, write_text
from hpcdl.job import Job
from hpcdl.job.sweep_section import NOT_A_SWEEP
from hpcdl.mounts.gathering import Unseen
from hpcdl.planning import Plan, plan
from hpcdl.run import Run, records
from hpcdl.run.after import After
from hpcdl.run.paths import RunPaths, code_folder
from hpcdl.run.records import Manifest, Submitted
from hpcdl.script import Sent, render_submission
from hpcdl.submission.after import find_after, note_after, require_after
from hpcdl.submission.create import Origin, make, new_run
from hpcdl.submission.locate import locate, with_models
from hpcdl.sweeps.followers import sbatch_options
from hpcdl.text import hpcdl_command
from hpcdl.usercode.freeze import code_sha


@dataclass(frozen=True)
class Submission:
    """A run that is ready to be made and sent.

    Args:
        job: the job, as it runs on this backend.
        plan: its plan, located.
        spec: the contract with the trainer; None for a script.
        paths: the run folder, which does not exist yet.
        script: the batch script; None on the local backend.
        backend: "slurm" or "local".
        notes: what the user must hear before: what this backend does otherwise.
        code_sha: of hpcdl's own code, which the run will use.
        unseen: what the container will not show, for the checks.
        after: the runs that must have ended before.
        cluster: the profile; None where there is none.
        made_before: data sets that the pipeline's steps before it make.
        fill: what writes more into the run folder before it gets its name.
    """

    job: Job
    plan: Plan
    spec: RunSpec | None
    paths: RunPaths
    script: str | None
    backend: str
    notes: list[str]
    code_sha: str
    unseen: list[Unseen] = field(default_factory=list)
    after: list[After] = field(default_factory=list)
    cluster: Cluster | None = None
    made_before: Sequence[str] = ()
    fill: Callable[[RunPaths], None] | None = None

    @property
    def profile_file(self) -> str:
        """The profile's name or file; "" where there is none."""
        return "" if self.cluster is None else self.cluster.file

    def within_budget(
        self, tasks: int = 1, at_most: float | None = None
    ) -> AbstractContextManager[None]:
        """Let it be made and sent only within the profile's budget of GPU-hours.

        Args:
            tasks: how many jobs of this size are sent.
            at_most: GPU-hours after which they end by themselves; None for no such limit.

        Raises:
            UserError: on entering: it would exceed the budget.
        """
        if self.backend != "slurm" or self.cluster is None or not self.cluster.budget_gpu_hours:
            return nullcontext()
        from hpcdl.submission.gpu_budget import asked_gpu_hours, within_budget

        asked = asked_gpu_hours(self.plan, tasks)
        if at_most is not None:
            asked = min(asked, at_most)
        return within_budget(self.cluster, self.paths.root.parent.parent, asked)


def prepare(
    job: Job,
    cluster: Cluster,
    backend: str = "slurm",
    runs_dir: str | None = None,
    after: Sequence[str] = (),
) -> Submission:
    """Decide everything about a submission. Nothing is written to disk.

    Args:
        job: the job.
        cluster: the cluster.
        backend: "slurm", or "local" for this machine.
        runs_dir: where run folders go, instead of the cluster's runs_root.
        after: runs that must have ended before, besides those that the job names itself: each a
            path, id or name, with ``:any`` if it may end in any way.

    Raises:
        UserError: the cluster cannot do it, or SLURM cannot carry a value.
        JobError: a run whose model the job names cannot be used.
    """
    notes = _about_sweep(job)
    if backend == "local":
        job, cluster = local_machine.fit(job, cluster, notes)
    else:
        notes += _about_clusters(cluster)
    job = with_models(job, cluster, runs_dir)
    located = locate(job, cluster, plan(job, cluster), local=backend == "local")
    notes += located.notes
    needs_container = not located.plan.program.on_host
    if backend == "slurm" and needs_container and located.plan.container is None:
        raise UserError(
            f"{cluster.name} names no container image, which a job in SLURM runs in: "
            f"choose another --cluster, or --backend local"
        )
    if cluster.emulate_gpus and job.resources.gpus:
        asked = f"EMULATED GPUs: {job.resources.gpus} asked for"
        notes.append(f"{asked}, CPU devices stand in (profile {cluster.name})")
    runs_root = Path(runs_dir or cluster.runs_root).absolute()
    places = [runs_root] if runs_dir else [runs_root, Path("runs").absolute()]
    waits_for = find_after([*job.after, *after], list(dict.fromkeys(places)))
    paths = new_run(job.name, runs_root, in_slurm=backend == "slurm")
    script = None
    sha = code_sha()
    code = str(code_folder(runs_root, sha))
    own = [str(paths.root), code]
    if job.workdir:
        own.append(job.workdir)
    located = located.shown(own)
    decided = located.plan
    if backend == "slurm":
        worker = worker_command(
            decided.modules.host_python or sys.executable, paths.submitit, python_options()
        )
        sent = Sent(str(paths.root), code, worker, str(paths.batch_log))
        script = render_submission(decided, sent)
    return Submission(
        job=job,
        plan=decided,
        spec=located.spec,
        paths=paths,
        script=script,
        backend=backend,
        notes=notes,
        code_sha=sha,
        unseen=located.unseen,
        after=waits_for,
        cluster=cluster,
    )


def _about_sweep(job: Job) -> list[str]:
    """What the user must hear if the job file describes a sweep."""
    if job.sweep is None:
        return []
    return [NOT_A_SWEEP]


def _about_clusters(cluster: Cluster) -> list[str]:
    """What the user must hear if the shell says which of a site's SLURM clusters to use.

    Raises:
        UserError: it names several, and the profile names none.
    """
    shell = os.environ.get("SLURM_CLUSTERS")
    if not shell:
        return []
    if cluster.clusters is None:
        raise UserError(
            f"SLURM_CLUSTERS is {shell!r} in this shell; expected one SLURM cluster: "
            "set it to one, or say --set cluster.clusters=NAME"
        )
    if "clusters" not in cluster.places:
        return [
            f"the job goes to the SLURM cluster {cluster.clusters}: this shell's SLURM_CLUSTERS"
        ]
    if shell != cluster.clusters:
        other = f"not to this shell's SLURM_CLUSTERS, {shell}"
        return [f"the job goes to the SLURM cluster {cluster.clusters}, {other}"]
    return []


def require_backend(submission: Submission) -> None:
    """Make sure that this machine can send the submission at all.

    Raises:
        SchedulerError: there is no SLURM here.
    """
    if submission.backend == "slurm":
        from hpcdl.scheduler import slurm

        if not slurm.available():
            raise SchedulerError(
                "there is no sbatch on this machine: "
                "run hpcdl on a login node, or use --backend local"
            )


def submit(submission: Submission, command_line: Sequence[str] = ()) -> Run:
    """Make the run folder and send the run.

    Args:
        submission: from `prepare`.
        command_line: what the user typed, for the manifest.

    Raises:
        UserError: a run that it comes after has failed, or the profile's budget does not allow it.
        RunError: the run folder cannot be made.
        SchedulerError: SLURM refused it; the run folder stays, in state created.
    """
    paths = submission.paths
    require_backend(submission)
    require_after(submission.after, submission.plan, in_slurm=submission.backend == "slurm")
    packages.require(submission.plan)
    with submission.within_budget():
        make_folder(submission, command_line)
        try:
            send_run(paths)
        except SchedulerError as error:
            raise SchedulerError(
                f"{error}\nThe run was made, and is sent with: "
                f"{hpcdl_command('resume', paths.root)}"
            ) from error
    return Run(paths.root)


def make_folder(submission: Submission, command_line: Sequence[str]) -> None:
    """Make the run folder, ready to be sent."""
    paths = submission.paths
    origin = Origin(
        command_line, submission.code_sha, submission.fill, profile=submission.profile_file
    )
    make(paths, submission.job, submission.plan, submission.spec, origin)
    if submission.script is not None:
        for folder in (paths.root, paths.submitit):
            fault = others_could_write(folder)
            if fault:
                message = f"{folder} {fault}, so the job would not run what lies there"
                raise RunError(f"{message}; choose another --runs-dir")
        write_text(paths.script, submission.script)
    note_after(paths, submission.after)


def worker_command(python: str, folder: Path, options: Sequence[str] = ("-s",)) -> list[str]:
    """The argv of submitit's worker for a folder of its pickles."""
    return [python, *options, "-u", "-m", "hpcdl.worker", str(folder)]


def python_options() -> list[str]:
    """Options of the worker's Python: no ~/.local, unless hpcdl's packages are installed there."""
    import site
    from importlib.util import find_spec

    user_site = site.getusersitepackages()
    for name in ("msgspec", "submitit", "cloudpickle"):
        module = find_spec(name)
        if module and module.origin and Path(module.origin).is_relative_to(user_site):
            return []
    return ["-s"]


def send_run(paths: RunPaths, avoid: Sequence[str] = (), options: Sequence[str] = ()) -> None:
    """Send a run that is on disk, to SLURM if it has a batch script; note where and when.

    Args:
        paths: the run's.
        avoid: nodes that its job must not run on.
        options: sbatch's options that come before those of the batch script; they are noted, and
            later jobs of the run get them, too.

    Raises:
        UserError: a run that it comes after has failed.
        SchedulerError: SLURM refused it.
    """
    if paths.script.exists():
        from hpcdl.scheduler.clusters import cluster_of, on_cluster

        with on_cluster(cluster_of(records.plan(paths))):
            _note_what_is_sent(paths, "slurm", _send_to_slurm(paths, avoid, options))
    else:
        _note_what_is_sent(paths, "local", [_start_here(paths)])


def _note_what_is_sent(paths: RunPaths, backend: str, jobs: Iterable[dict[str, Any]]) -> None:
    before = Submitted.read(paths) or Submitted()
    first = time.time() if before.time is None else before.time
    cluster = records.plan(paths).get("cluster")
    for sent in jobs:
        where = {"backend": backend, "cluster": cluster, **sent}
        write_json(paths.submitted, {**where, "time": first, "sent": time.time()})


def _send_to_slurm(
    paths: RunPaths, avoid: Sequence[str], options: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Submit the run's job, or a chain of jobs if the site does not requeue them.

    Each job of a chain starts when the one before has ended.

    Yields:
        The jobs so far, after each submission: a job may start before the next is submitted. If
        SLURM takes only a part of a chain, the chain is shorter.
    """
    from hpcdl.launch import launch
    from hpcdl.worker.executors import SlurmScriptExecutor

    decided = records.plan(paths)
    links = 1 if decided.get("requeue", True) else 1 + decided.get("max_requeues", 0)
    waits = sbatch_options(paths)
    noted = {"options": list(options)} if options else {}
    job_ids: list[str] = []
    while len(job_ids) < links:
        before = job_ids[-1] if job_ids else None
        executor = SlurmScriptExecutor(
            paths.submitit,
            paths.script,
            before,
            avoid,
            options=options if before else [*options, *waits],
        )
        try:
            job_ids.append(executor.submit(launch, str(paths.root)).job_id)
        except SchedulerError:
            if not job_ids:
                raise
            return
        yield {"job_id": job_ids[0], "job_ids": job_ids, **noted}


def _start_here(paths: RunPaths) -> dict[str, Any]:
    import socket

    from hpcdl.launch import launch_local
    from hpcdl.run.process_start import process_start
    from hpcdl.worker.executors import SessionExecutor

    own_code = Manifest.read(paths).code_folder
    if own_code is None:
        raise RunError(f"{paths.manifest} does not say where hpcdl's code is; submit the job again")
    executor = SessionExecutor(paths.submitit, Path(own_code), paths.local_log)
    job = executor.submit(launch_local, str(paths.root))
    pid = int(job.job_id)
    return {
        "job_id": None,
        "pid": pid,
        "pid_start": process_start(pid),
        "host": socket.gethostname(),
    }
