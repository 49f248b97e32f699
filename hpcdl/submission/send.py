"""submit(submission) -> Run: makes the run folder, and sends the run to SLURM or starts it here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hpcdl import packages
from hpcdl.errors import RunError, SchedulerError
from hpcdl.files import others_could_write, write_json, write_text
from hpcdl.run import Run, records
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Manifest, Submitted
from hpcdl.submission.after import note_after, require_after
from hpcdl.submission.create import Origin, make
from hpcdl.submission.prepare import Submission
from hpcdl.sweeps.followers import sbatch_options
from hpcdl.text import hpcdl_command


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
