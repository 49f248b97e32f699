"""``hpcdl shell``: the same container as a job's, by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hpcdl.cli import options


@click.command(
    short_help="Open a job's or run's container by hand.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("target", metavar="JOB|RUN")
@click.argument("program", metavar="[-- PROGRAM [ARG]...]", nargs=-1, type=click.UNPROCESSED)
@options.cluster
@options.sets
@options.size
@options.runs_dir
def command(
    target: str,
    program: tuple[str, ...],
    cluster: str | None,
    sets: tuple[str, ...],
    runs_dir: str | None,
) -> None:
    """Open a job's or run's container by hand.

    The same binds, home and environment as the job has: try things out before a
    first submission, or look around after a failure. A PROGRAM runs in the
    folder where you are; without one, a shell opens, a RUN's in its own folder.

    \b
    hpcdl shell mnist_cnn --cluster mycluster.yaml
    hpcdl shell RUN -- python -c "import tensorflow as tf; print(tf.config.list_physical_devices())"
    """
    from hpcdl.shell import argv_for_job, argv_for_run

    words = list(program) or ["bash"]
    here = os.getcwd() if program else None  # who names a program names files from here
    if _is_run(target):
        argv, env, workdir = argv_for_run(
            options.find(target, cluster, runs_dir).paths, words, here
        )
    else:
        job, site = options.load(target, cluster, sets)
        argv, env, workdir = argv_for_job(
            job, site, words, Path(runs_dir or site.runs_root).absolute()
        )
    os.chdir(workdir)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, env)  # noqa: S606 - an argv list, no shell


def _is_run(target: str) -> bool:
    """Whether a JOB|RUN is a run: its folder, or what no job is called.

    Raises:
        UserError: it can only be a job, and is not there.
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
