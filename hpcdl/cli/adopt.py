"""``hpcdl adopt``: the job file that does the same as a batch script."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.adopt import Adopted
    from hpcdl.batchscript.model import BatchScript
    from hpcdl.errors import Problem

_OUTPUT = "Write the job file there; by default, and with -, it is printed."


@click.command(short_help="Make a job file of a batch script of yours.")
@click.argument("script", metavar="SCRIPT", type=click.Path())
@options.cluster
@click.option("-o", "--output", metavar="FILE", type=click.Path(allow_dash=True), help=_OUTPUT)
def command(script: str, cluster: str | None, output: str | None) -> None:
    """Make a job file of a batch script of yours.

    SCRIPT is a file for sbatch. It is read, and no line of it is run. Its
    #SBATCH lines, modules, image and variables become keys of the job; its
    program becomes script, args and workdir. What a job does not carry, or
    what only the running script knows, stands as comments at the end of the
    job file, with its line and what to do. The same goes to stderr.

    With --cluster, keys that the profile has as well are left out, and an image
    of the profile is called by its name.

    A script that starts several programs, or one program several times, is no
    job: exit code 2, and the reasons.

    \b
    hpcdl adopt MNIST.slurm
    hpcdl adopt MNIST.slurm -o mnist.yaml && hpcdl check mnist.yaml
    hpcdl adopt MNIST.slurm --cluster marenostrum5 -o mnist.yaml
    """
    from hpcdl.adopt import adopt
    from hpcdl.adopt.job_text import job_text
    from hpcdl.cli.batch_scripts import read

    path = None if output in (None, "-") else Path(output or "")
    _require_new(path)
    batch_script = read(script)
    adopted = adopt(batch_script, None if path is None else Path(os.path.abspath(path)).parent)
    if adopted.folder != Path.cwd() or "/" in script:
        options.say(f"{script}: paths as if sbatch were called in {adopted.folder}")
    _require_job(batch_script, adopted)
    if cluster is not None:
        from hpcdl.adopt.of_site import for_profile
        from hpcdl.cluster import choose_cluster, read_cluster

        adopted = for_profile(adopted, read_cluster(choose_cluster(cluster)))
    text = job_text(adopted)
    later = _require_loadable(adopted, text, path)
    _say_left(script, adopted)
    for problem in later:
        options.say(f"{problem}; the job needs it when it is sent")
    if path is None:
        click.echo(text, nl=False)
    else:
        _write(path, text)
        click.echo(path)


def _require_new(path: Path | None) -> None:
    """Make sure that no file is overwritten.

    Raises:
        UserError: there is one.
    """
    from hpcdl.errors import UserError

    if path is None:
        return
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"a job file ends in .yaml; got --output {path}")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}, which --output {path} is in")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists already; remove it, or give --output another name")


def _require_job(script: BatchScript, adopted: Adopted) -> None:
    """Make sure that a job file can do the same.

    Raises:
        ProblemsError: it cannot; every reason with its line.
    """
    from hpcdl.errors import Problem, ProblemsError

    problems = []
    for item in adopted.obstacles:
        problems.append(Problem(f"{script.shown}:{item.line}", "", f"{item.why}; {item.fix}"))
    if problems:
        raise ProblemsError(f"{script.shown} cannot be a job file", problems)


def _require_loadable(adopted: Adopted, text: str, path: Path | None) -> list[Problem]:
    """Make sure that the job file loads again; what of it is not there yet.

    Raises:
        ProblemsError: it does not; every reason with its line of the script.
    """
    from hpcdl.adopt.loads import problems_of
    from hpcdl.errors import ProblemsError

    folder = adopted.folder if path is None else Path(os.path.abspath(path)).parent
    faults, later = problems_of(adopted, text, folder)
    if faults:
        raise ProblemsError(f"{adopted.script.shown} cannot be a job file", faults)
    return later


def _say_left(script: str, adopted: Adopted) -> None:
    """Tell on stderr what the job file does not carry."""
    from hpcdl.formats import several

    if adopted.left:
        options.say(f"{script}: not carried over, {several(len(adopted.left), 'thing')}:")
    for item in adopted.left:
        options.say(f"  {item}")
    for note in adopted.notes:
        options.say(note)


def _write(path: Path, text: str) -> None:
    from hpcdl.files import write_text
    from hpcdl.oserrors import refusal

    try:
        write_text(path, text)
    except OSError as error:
        raise refusal(f"cannot write {path}", error) from error
