"""``hpcdl shell``: open the container that a job or a run uses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hpcdl.cli import options

_ON_NODE = "Open it on a compute node, in an allocation like the job's."


@click.command(
    short_help="Open a job's or run's container by hand.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("target", metavar="JOB|RUN")
@click.argument("program", metavar="[-- PROGRAM [ARG]...]", nargs=-1, type=click.UNPROCESSED)
@options.job_settings
@options.runs_dir
@click.option("--on-node", is_flag=True, help=_ON_NODE)
def command(
    target: str,
    program: tuple[str, ...],
    settings: options.JobSettings,
    runs_dir: str | None,
    on_node: bool,
) -> None:
    """Open a job's or run's container by hand.

    It has the same binds, home and environment as the job: try things out before
    a first submission, or look around after a failure. A PROGRAM runs in the
    folder where you are. Without one, a shell opens, a RUN's in its own folder.

    With --on-node it waits for a node with the job's partition, GPUs and time, and
    opens there. The allocation ends with the shell.

    \b
    hpcdl shell mnist_cnn --cluster mycluster.yaml
    hpcdl shell mnist_cnn --cluster mycluster.yaml --on-node --time 00:30:00
    hpcdl shell RUN -- python -c "import tensorflow as tf; print(tf.config.list_physical_devices())"
    """
    from hpcdl.shell import argv_for_job, argv_for_run

    if on_node:
        _enter_node(target, program, settings, runs_dir)
    words = list(program) or ["bash"]
    here = os.getcwd() if program else None  # who names a program names files from here
    if is_run(target):
        run = options.find(target, options.Places(settings.cluster, runs_dir))
        argv, env, workdir = argv_for_run(run.paths, words, here)
    else:
        job, cluster = options.load(target, settings)
        runs_root = Path(runs_dir or cluster.runs_root).absolute()
        argv, env, workdir = argv_for_job(job, cluster, words, runs_root)
    os.chdir(workdir)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, env)  # noqa: S606 - an argv list, no shell


def _enter_node(
    target: str, program: tuple[str, ...], settings: options.JobSettings, runs_dir: str | None
) -> None:
    """Open it in an allocation; this process becomes srun."""
    from hpcdl.cli.shell_on_node import enter_job, enter_run

    if is_run(target):
        run = options.find(target, options.Places(settings.cluster, runs_dir))
        enter_run(run, settings.time, program)
    enter_job(target, settings, runs_dir, program)


def is_run(target: str) -> bool:
    """Whether a JOB|RUN is a run: its folder, or a text that names no job.

    Raises:
        UserError: it can only be a job, and is missing.
    """
    from hpcdl.errors import UserError
    from hpcdl.job import find_job
    from hpcdl.job.find import JOB_SUFFIXES, SCRIPT_SUFFIXES

    if Path(target, "manifest.json").exists():
        return True
    try:
        find_job(target)
    except UserError:
        if target.endswith(JOB_SUFFIXES + SCRIPT_SUFFIXES):
            raise
        return True
    return False
