"""``hpcdl cancel``: end a run for good."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from hpcdl.cli import options


@click.command(short_help="Cancel a run for good.")
@options.run_name
def command(run_name: str, places: options.Places) -> None:
    """Cancel a run for good: its job ends, and is never requeued. Its folder stays.

    \b
    hpcdl cancel k3f9
    """
    from hpcdl.errors import NoRunError, RunError

    try:
        run = options.find(run_name, places)
    except NoRunError as error:
        jobs = _jobs_without_folder(run_name, options.run_roots(places))
        if not jobs:
            raise
        raise RunError(_how_to_end(jobs)) from error
    cancelled = run.cancel()
    if cancelled:
        options.say(f"cancelled: {run.paths.root}")
    else:
        options.say(f"nothing to cancel: it is {run.status(ask=False).state}")
    if cancelled.unmarked:
        options.say(f"but its folder does not show that, only SLURM does: {cancelled.unmarked}")


def _jobs_without_folder(text: str, roots: list[Path]) -> dict[str, str]:
    """The jobs of removed runs that RUN stands for.

    Returns:
        the folder that each run had, by job id.
    """
    from hpcdl.environment import slurm_cluster
    from hpcdl.errors import SchedulerError
    from hpcdl.run import fitting_names
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import on_cluster

    folders: dict[str, str] = {}
    with suppress(SchedulerError), on_cluster(slurm_cluster()):
        folders = dict(slurm.working_directories())
    removed: dict[str, str] = {}
    names: dict[str, str] = {}  # JOB/ID
    for job_id, folder in folders.items():
        path = Path(folder)
        if folder == os.path.abspath(text):
            removed[job_id] = folder
        if path.parent.parent in roots and not (path / "manifest.json").exists():
            names[job_id] = f"{path.parent.name}/{path.name}"
    if removed:
        return removed
    fitting = fitting_names(text, list(names.values()))
    for job_id, name in names.items():
        if name in fitting:
            removed[job_id] = folders[job_id]
    return removed


def _how_to_end(folders: dict[str, str]) -> str:
    names = ", ".join(sorted(set(folders.values())))
    jobs = "its job is" if len(folders) == 1 else "its jobs are"
    return (
        f"the run folder {names} was removed, and {jobs} still in the queue or running; "
        f"end that with: scancel {' '.join(folders)}"
    )
