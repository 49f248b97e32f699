"""``hpcdl shell``: the same container as a job's, by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hpcdl.cli import options


@click.command(short_help="Open a job's or run's container by hand.", context_settings={"ignore_unknown_options": True})
@click.argument("target", metavar="JOB|RUN")
@click.argument("program", metavar="[-- PROGRAM [ARG]...]", nargs=-1, type=click.UNPROCESSED)
@options.cluster
@options.sets
@options.runs_dir
def command(
    target: str, program: tuple[str, ...], cluster: str | None, sets: tuple[str, ...], runs_dir: str | None
) -> None:
    """Open a job's or run's container by hand.

    The same binds, home and environment as the job has: try things out before a
    first submission, or look around after a failure.

    \b
    hpcdl shell mnist_cnn --cluster mycluster.yaml
    hpcdl shell RUN -- python -c "import tensorflow as tf; print(tf.config.list_physical_devices())"
    """
    from hpcdl.launch.byhand import argv_for_job, argv_for_run

    words = list(program) or ["bash"]
    if Path(target, "manifest.json").exists() or not _is_job(target):
        argv, env, workdir = argv_for_run(options.find(target, cluster, runs_dir).paths, words)
    else:
        job, site = options.load(target, cluster, sets)
        argv, env, workdir = argv_for_job(job, site, words, Path(runs_dir or site.runs_root).absolute())
    os.chdir(workdir)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, env)  # noqa: S606 - an argv list, no shell


def _is_job(target: str) -> bool:
    from hpcdl.errors import UserError
    from hpcdl.job import find_job

    try:
        find_job(target)
    except UserError:
        return False
    return True
