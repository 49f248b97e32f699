"""``hpcdl jobs``: the shipped jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from hpcdl.cli import completion, options
from hpcdl.contract.tables import aligned


@click.group(short_help="List and copy the jobs that ship with hpcdl.")
def command() -> None:
    """List and copy the jobs that ship with hpcdl.

    Every command that takes a JOB takes the name of a shipped job. A name that
    ends with .yaml is a file of yours.
    """


@command.command("list", short_help="List the shipped jobs, with what each shows.")
def list_jobs() -> None:
    """List the shipped jobs, with what each shows."""
    from hpcdl import shipped

    paths = sorted(shipped.folder("jobs").glob("*.yaml"))
    for line in aligned([[path.stem, _first_comment(path)] for path in paths]):
        click.echo(line)


@command.command("copy", short_help="Copy a job here, to edit it.")
@click.argument("name", metavar="NAME", shell_complete=completion.jobs)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False))
def copy_job(name: str, folder: str) -> None:
    """Copy a job here (or into DIR), with its script or module, to edit it.

    A script of yours that has the same name stays as it is.

    \b
    hpcdl jobs copy mnist_cnn
    """
    from hpcdl.errors import HpcdlError, UserError
    from hpcdl.job import load_job
    from hpcdl.usercode.user_files import user_files

    source = _shipped(name)
    job_file = Path(folder, source.name)
    if job_file.exists():
        advice = f"choose another folder: hpcdl jobs copy {source.stem} DIR"
        raise UserError(f"{job_file} exists already; {advice}")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        job = load_job(source)
        packages = [Path(job.packages)] if job.packages else []
        for path in [source, *user_files(job), *packages]:
            target = Path(folder, path.name)
            if not target.exists():
                click.echo(shutil.copyfile(path, target))
            elif target.read_bytes() != path.read_bytes():
                consequence = f"{job_file} runs yours, not the shipped one"
                options.say(f"{target} exists already and stays as it is: {consequence}")
    except OSError as error:
        raise HpcdlError(f"cannot copy to {folder}: {error.strerror} ({error.filename})") from error


def _shipped(name: str) -> Path:
    """The file of a shipped job, even if this folder has a file of that name.

    Raises:
        UserError: no shipped job has that name.
    """
    from hpcdl.errors import UserError
    from hpcdl.job.find import shipped_jobs
    from hpcdl.text import did_you_mean

    jobs = shipped_jobs()
    stem = name.removesuffix(".yaml")
    if stem not in jobs:
        raise UserError(f"there is no shipped job {name!r}{did_you_mean(stem, jobs)}")
    return jobs[stem]


@command.command("keys", short_help="Print every key of a job file, as Markdown.")
def keys() -> None:
    """Print every key of a job file: its type, its default, its meaning (Markdown)."""
    from hpcdl.job.reference import job_reference

    click.echo(job_reference(), nl=False)


def _first_comment(path: Path) -> str:
    """The comment in the first line of a job file; empty if it has none."""
    first_line = path.read_text(encoding="utf-8").partition("\n")[0]
    if not first_line.startswith("#"):
        return ""
    return first_line.lstrip("# ")
