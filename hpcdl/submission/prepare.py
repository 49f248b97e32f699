"""Decides everything about a submission before anything is written or sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from hpcdl import local_machine
from hpcdl.cluster.schema import Cluster
from hpcdl.contract.spec import RunSpec
from hpcdl.errors import UserError
from hpcdl.job import Job
from hpcdl.job.sweep_section import NOT_A_SWEEP
from hpcdl.mounts.gathering import Unseen
from hpcdl.planning import Plan, plan
from hpcdl.run.after import After
from hpcdl.run.paths import RunPaths, code_folder
from hpcdl.script import Sent, render_submission
from hpcdl.submission.after import find_after
from hpcdl.submission.create import new_run
from hpcdl.submission.locate import locate, with_models
from hpcdl.usercode.freeze import code_sha
from hpcdl.worker.command import python_options, worker_command


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
        script = batch_script(decided, paths, code)
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


def batch_script(decided: Plan, paths: RunPaths, code: str) -> str:
    """The batch script that sends a run to SLURM.

    Args:
        decided: the run's plan.
        paths: the run's.
        code: the folder of hpcdl's code that the job will use.
    """
    host_python = decided.modules.host_python or sys.executable
    worker = worker_command(host_python, paths.submitit, python_options())
    return render_submission(decided, Sent(str(paths.root), code, worker, str(paths.batch_log)))


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
