"""``hpcdl notebook``: JupyterLab on a compute node; the ssh line and the address go to stdout."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.job import Job
    from hpcdl.run import Run
    from hpcdl.submission.prepare import Submission

_OPEN = "Open the page in this machine's browser."


@click.command(short_help="Open JupyterLab on a compute node.")
@click.argument("target", metavar="[JOB|RUN]", required=False, shell_complete=completion.jobs)
@options.job_settings
@options.backend
@options.runs_dir
@click.option("--open", "opens", is_flag=True, help=_OPEN)
def command(
    target: str | None,
    settings: options.JobSettings,
    backend: str,
    runs_dir: str | None,
    opens: bool,
) -> int:
    """Open JupyterLab on a compute node.

    It runs in the container of JOB, with its packages and environment, in the
    job file's folder. Without a JOB it is the shipped job notebook, in this
    folder. The command waits until the page answers, and prints two lines: the
    ssh line for a terminal of your own computer, and the address for its
    browser. The address has a secret token: give it to nobody.

    The notebook is a run: status, logs and cancel take it. It ends with its time
    limit and is never requeued. With its RUN this command prints the two lines
    again. Ctrl-C leaves it running, or in the queue.

    \b
    hpcdl notebook -c mycluster.yaml --gpus 1 --time 02:00:00
    hpcdl notebook train.yaml -c mycluster.yaml
    hpcdl notebook k3f9
    hpcdl notebook --backend local --open
    """
    from hpcdl.cli.notebook_page import show_page
    from hpcdl.cli.shell import is_run
    from hpcdl.jupyter.job import SHIPPED, require_notebook

    if target is not None and is_run(target):
        run = options.find(target, options.Places(settings.cluster, runs_dir))
        require_notebook(run.paths)
        run.require_owner("use")
        _require_no_change(settings)
        return show_page(run, opens)
    default = "local" if backend == "local" else None
    job, cluster = options.load(target or str(SHIPPED), settings, default)
    started = _start(job, cluster, backend, runs_dir)
    return 2 if started is None else show_page(started, opens)


def _require_no_change(settings: options.JobSettings) -> None:
    """Make sure that nobody expects a notebook that is there to change.

    Raises:
        UserError: something was said that only a new one can follow.
    """
    from hpcdl.errors import UserError

    said = {"--gpus": settings.gpus, "--time": settings.time, "--set": settings.sets or None}
    names = [name for name, value in said.items() if value is not None]
    if names:
        raise UserError(
            f"{' and '.join(names)}: a notebook that is there keeps what it was started with;"
            " leave that out to see its address, or name a JOB to start another one"
        )


def _start(job: Job, cluster: Cluster, backend: str, runs_dir: str | None) -> Run | None:
    """Check the notebook of a job, and send it.

    Returns:
        its run; None if it cannot run, as was said.
    """
    from hpcdl.cli.submit import check_first, say_sent
    from hpcdl.jupyter.job import as_notebook, is_optional, without_packages
    from hpcdl.preflight.jupyterlab import jupyterlab
    from hpcdl.submission.prepare import prepare
    from hpcdl.submission.send import require_backend, submit

    job, cluster = as_notebook(job, cluster, os.getcwd())
    prepared = prepare(job, cluster, backend, runs_dir)
    if is_optional(job) and _does_without(prepared, cluster):
        prepared = prepare(without_packages(job), cluster, backend, runs_dir)
    for note in prepared.notes:
        options.say(note)
    require_backend(prepared)
    more = [("JupyterLab", jupyterlab)]
    notes = check_first(prepared, cluster, is_local=backend == "local", more=more)
    if notes is None:
        return None
    run = submit(prepared, sys.argv)
    say_sent(run, cluster.name, notes)
    options.say(f"its run: {run.paths.root}")
    return run


def _does_without(prepared: Submission, cluster: Cluster) -> bool:
    """Whether the packages are not installed, and the image has JupyterLab itself."""
    from hpcdl.errors import HpcdlError
    from hpcdl.preflight import Subject
    from hpcdl.preflight.jupyterlab import has_jupyterlab
    from hpcdl.preflight.packages import is_missing

    if prepared.plan.container is None:
        return True
    try:
        return is_missing(prepared.plan) and has_jupyterlab(Subject(prepared, cluster))
    except HpcdlError:
        return False  # the checks say what is wrong
