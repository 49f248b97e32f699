"""The job of a notebook: a script run that starts JupyterLab in another job's container."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from hpcdl import shipped
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import UserError
from hpcdl.job import Job
from hpcdl.run.paths import RunPaths

SHIPPED = shipped.folder("jobs").resolve() / "notebook.yaml"  # without a training
DATA = "HPCDL_DATA_PATH"  # the variable that tells a notebook where its job's data lie
_LAUNCHER, _NOTICE = "jupyter_lab.py", "jupyter_notice.js"
_MOST_MARGIN_S = 60  # enough to save open documents and to end the kernels


def as_notebook(job: Job, cluster: Cluster, here: str) -> tuple[Job, Cluster]:
    """The notebook of a job, on one node: its container, packages, environment and size.

    It is never requeued: what its kernels hold cannot be saved.

    Args:
        job: the job.
        cluster: the profile.
        here: the folder of a shipped job's notebook.
    """
    folder = shipped.folder("jobs").resolve()
    is_shipped = Path(job.folder).resolve() == folder
    limit_s = job.resources.time_limit_s
    margin_s = min(cluster.stop_margin_s, _MOST_MARGIN_S, limit_s // 4)
    env = dict(job.env)
    if job.data is not None and job.data.path is not None:
        env[DATA] = job.data.path
    job = replace(
        job,
        name=job.name if job.script == str(folder / _LAUNCHER) else f"{job.name}-notebook",
        resources=replace(job.resources, nodes=1),
        data=None,
        model=None,
        train=None,
        test=None,
        export=[],
        script=str(folder / _LAUNCHER),
        hpcdl=[],
        args=["--stop-margin-s", str(margin_s)],
        env=env,
        stop_signal=None,
        workdir=job.workdir or (here if is_shipped else job.folder),
        files=[str(folder / _NOTICE)],
        after=[],
        start=None,
        sweep=None,
    )
    # SLURM's warning may come half a minute early, and is only the net under launch's own
    lead_s = max(1, margin_s // 4)
    site = replace(cluster, requeue=False, max_requeues=0)
    return job, replace(site, stop_margin_s=margin_s, signal_lead_s=lead_s)


def is_optional(job: Job) -> bool:
    """Whether a job has its packages only for images without JupyterLab."""
    return job.packages == str(shipped.folder("jobs").resolve() / "jupyterlab.txt")


def without_packages(job: Job) -> Job:
    """The job with what the image has, and nothing beside it."""
    return replace(job, packages=None, requirements=[])


def require_notebook(paths: RunPaths) -> None:
    """Make sure that a run is a notebook's.

    Raises:
        UserError: it is another run.
    """
    if not os.path.exists(paths.user / _LAUNCHER):
        raise UserError(
            f"{paths.root} is not a notebook; for one with a run's container, name its JOB"
        )
