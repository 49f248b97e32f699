"""``hpcdl jobs``: the shipped jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import click


@click.group(short_help="List and copy the jobs that ship with hpcdl.")
def command() -> None:
    """List and copy the jobs that ship with hpcdl.

    Wherever a JOB is asked for, the name of a shipped one does.
    """


@command.command("list", short_help="List them, with what each shows.")
def list_jobs() -> None:
    """List them, with what each shows."""
    from hpcdl import shipped

    paths = sorted(shipped.folder("jobs").glob("*.yaml"))
    width = max(len(path.stem) for path in paths)
    for path in paths:
        click.echo(f"{path.stem:<{width}}  {_first_comment(path)}")


@command.command("copy", short_help="Copy one here, to edit it.")
@click.argument("name", metavar="NAME")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False))
def copy_job(name: str, folder: str) -> None:
    """Copy one here (or into DIR), with its script or module, to edit it.

    \b
    hpcdl jobs copy mnist_cnn
    """
    from hpcdl.errors import UserError
    from hpcdl.job import find_job, load_job
    from hpcdl.run.freeze import user_files

    source = find_job(name)
    wanted = [source, *user_files(load_job(source))]
    for path in wanted:
        if Path(folder, path.name).exists():
            raise UserError(f"{Path(folder, path.name)} is there already; choose another folder")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in wanted:
        click.echo(shutil.copyfile(path, Path(folder, path.name)))


@command.command("keys", short_help="Tell every key of a job file, as Markdown.")
def keys() -> None:
    """Tell every key of a job file: what it takes, its default, its meaning (Markdown)."""
    from hpcdl.job.reference import job_reference

    click.echo(job_reference(), nl=False)


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
