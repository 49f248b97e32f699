"""``hpcdl cancel``: end a run for good."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from hpcdl.cli import options


@click.command(short_help="Cancel a run for good.")
@options.run_argument
def command(run: str, cluster: str | None, runs_dir: str | None) -> None:
    """Cancel a run for good: it is ended, and never requeued. Its folder stays.

    \b
    hpcdl cancel k3f9
    """
    from hpcdl.errors import NoRunError, RunError

    try:
        chosen = options.find(run, cluster, runs_dir)
    except NoRunError as error:
        running = _jobs_without_folder(run, options.run_roots(cluster, runs_dir))
        if not running:
            raise
        raise RunError(_how_to_end(running)) from error
    cancelled = chosen.cancel()
    if cancelled:
        options.say(f"cancelled: {chosen.paths.root}")
    else:
        options.say(f"nothing to cancel: it is {chosen.status(ask=False).state}")
    if cancelled.unmarked:
        options.say(f"but its folder does not show that, only SLURM does: {cancelled.unmarked}")


def _jobs_without_folder(text: str, roots: list[Path]) -> dict[str, str]:
    """The jobs of removed runs that the text stands for, each with the folder it had."""
    from hpcdl.environment import slurm_cluster
    from hpcdl.errors import SchedulerError
    from hpcdl.run import fitting_names
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import on_cluster

    jobs: dict[str, str] = {}
    with suppress(SchedulerError), on_cluster(slurm_cluster()):
        jobs = dict(slurm.working_directories())
    here = {job_id: folder for job_id, folder in jobs.items() if folder == os.path.abspath(text)}
    if here:
        return here
    names = {}
    for job_id, folder in jobs.items():
        if Path(folder).parent.parent in roots and not Path(folder, "manifest.json").exists():
            names[job_id] = "/".join(Path(folder).parts[-2:])
    fitting = fitting_names(text, list(names.values()))
    return {job_id: jobs[job_id] for job_id, name in names.items() if name in fitting}


def _how_to_end(running: dict[str, str]) -> str:
    folders = ", ".join(sorted(set(running.values())))
    count = "its job is" if len(running) == 1 else "its jobs are"
    return (
        f"the run folder {folders} was removed, and {count} still in the queue or running; "
        f"end that with: scancel {' '.join(running)}"
    )
