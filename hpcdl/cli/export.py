"""``hpcdl export``: what models of runs were exported as; with ``--to``, more kinds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.export_choice import Choice, choose, require_models
from hpcdl.contract.export_kinds import FILES, kind_problems
from hpcdl.contract.tables import aligned
from hpcdl.errors import RunError, UserError
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.run.exported import Exported
    from hpcdl.run.paths import RunPaths


@click.command(short_help="Show or make what a run's model is exported as.")
@options.runs
@options.places
@click.option(
    "--to",
    "kinds",
    multiple=True,
    metavar="KIND",
    help=f"Make this kind, too: {', '.join(FILES)}. May be given several times.",
)
@click.option(
    "--backend",
    type=click.Choice(["local", "slurm"]),
    default="local",
    help="Where --to makes it: on this machine (the default), or in a job.",
)
@click.option("--wait", is_flag=True, help="Wait until the job has ended, and show the table.")
@options.as_json
def command(
    runs: tuple[str, ...],
    places: options.Places,
    kinds: tuple[str, ...],
    backend: str,
    wait: bool,
    as_json: bool,
) -> int:
    """Show what a run's model was exported as, with sizes and what was measured.

    Accuracy and agreement are on test images; agreement is the share of them
    that get the answer of the trained model. A kind that could not be made is
    listed with its reason. A job file says which kinds: export: [serving, int8].

    With --to, more kinds are made of a run that is done, in the run's own
    container: on this machine, or with --backend slurm as a job, whose run is
    NAME-export. The log is RUN/logs/export-N.log. Exit code 1: one of these
    kinds could not be made.

    Several runs are exported as one model, the mean of their probabilities. It
    goes into a folder of its own, which the last line names, in RUN/export/ of
    the first run. What the runs themselves are exported as stays as it is.

    \b
    hpcdl export k3f9
    hpcdl export k3f9 --to int8 --to serving
    hpcdl export k3f9 --to int8 --backend slurm --wait
    hpcdl export k3f9 p0aa --to serving
    hpcdl export k3f9 --json
    """
    choice = choose(runs, places)
    in_job = backend == "slurm"
    if (in_job or wait) and not kinds:
        raise click.UsageError("--backend and --wait go with --to KIND, which makes something")
    if wait and not in_job:
        raise click.UsageError("--wait goes with --backend slurm; on this machine it always waits")
    for place, expected, hint in kind_problems(kinds):
        raise UserError(f"--to {kinds[place]}: expected {expected}{hint}")
    if kinds:
        require_models(choice)
    if in_job:
        from hpcdl.cli.export_job import export_on_node

        code = export_on_node(choice, kinds, places.cluster, wait)
        if code != 0 or not wait:
            return code
    elif kinds:
        _make(choice, list(kinds))
    from hpcdl.run.exported import read_exported

    every = read_exported(choice.home.paths, choice.mean)
    _show(choice, every, as_json)
    for exported in every:
        if exported.kind in kinds and (exported.why or exported.why_not_again):
            return 1
    return 0


def _show(choice: Choice, every: list[Exported], as_json: bool) -> None:
    from hpcdl.report import exports

    if as_json:
        click.echo(json.dumps([asdict(exported) for exported in every], indent=2))
        return
    if not every:
        roots = [run.paths.root for run in choice.runs]
        what = "the mean of these runs" if choice.mean else str(choice.home.paths.root)
        state = "has an export.json that is damaged or empty; make again what you need"
        if not choice.home.paths.export_table_of(choice.mean).exists():
            require_models(choice)
            state = "has no exported model; make one"
        command = hpcdl_command("export", *roots, "--to", "tflite")
        raise UserError(f"{what} {state}: {command}")
    made = exports.rows(every)
    if made:
        for line in aligned([list(exports.TITLES), *made]):
            click.echo(line.replace("\u00a0", " "))
    for sentence in exports.refused(every):
        click.echo(f"not exported: {sentence}")
    for sentence in _gone(choice, every):
        click.echo(sentence)
    if choice.mean:
        for sentence in _scores_of_mean(choice):
            click.echo(sentence)
    click.echo(f"in {choice.folder}")


def _gone(choice: Choice, every: list[Exported]) -> Iterator[str]:
    """The kinds whose file somebody has removed, with the command that makes it again."""
    roots = [run.paths.root for run in choice.runs]
    for exported in every:
        if exported.file and not (choice.folder / exported.file).exists():
            command = hpcdl_command("export", *roots, "--to", exported.kind)
            yield f"gone: {exported.kind}: {exported.file} was removed; make it again: {command}"


def _scores_of_mean(choice: Choice) -> list[str]:
    """What the mean is worth on all test images, as `hpcdl compare` says it."""
    from hpcdl.report import facts
    from hpcdl.report.together import sentence, together_of_runs

    together = together_of_runs([facts.read(run) for run in choice.runs])
    if together is None:
        return []
    return [sentence(together).replace("\u00a0", " ")]


def _make(choice: Choice, kinds: list[str]) -> None:
    """Export a model here, showing the log.

    Raises:
        RunError: the program failed.
    """
    from hpcdl.shell import argv_for_export

    paths = choice.home.paths
    members = [run.paths for run in choice.runs] if choice.mean else []
    argv, env, workdir = argv_for_export(paths, kinds, members, choice.mean)
    log = _new_log(paths)
    code = _logged(argv, env, workdir, str(log))
    if code != 0:
        raise RunError(f"the export failed (exit status {code}); see {log}")


def _new_log(paths: RunPaths) -> Path:
    """Make the next free log of exports; two commands at once get different ones."""
    paths.logs.mkdir(exist_ok=True)
    number = 1
    while True:
        try:
            paths.export_log(number).touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return paths.export_log(number)


def _logged(argv: list[str], env: dict[str, str], workdir: str, log: str) -> int:
    """Run a program with its output in a log, and on stderr. Returns its exit status."""
    with (
        open(log, "w", encoding="utf-8") as file,
        subprocess.Popen(
            argv,
            env=env,
            cwd=workdir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as program,
    ):
        assert program.stdout is not None  # noqa: S101 - for mypy
        try:
            for line in program.stdout:
                file.write(line)
                file.flush()
                options.say(line.rstrip("\n"))
        except BaseException:  # Ctrl-C, a full disk: nobody would see how the export ends
            program.terminate()
            raise
    return program.returncode
