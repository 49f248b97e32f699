"""``hpcdl export``: what a run's model was exported as; with ``--to``, more kinds."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.contract.export_kinds import FILES, kind_problems
from hpcdl.contract.tables import aligned
from hpcdl.errors import JobError, Problem, RunError, UserError
from hpcdl.run import states
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.run import Run
    from hpcdl.run.exported import Exported
    from hpcdl.run.paths import RunPaths


@click.command(short_help="Show or make what a run's model is exported as.")
@options.run_name
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
    run_name: str,
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

    \b
    hpcdl export k3f9
    hpcdl export k3f9 --to int8 --to serving
    hpcdl export k3f9 --to int8 --backend slurm --wait
    hpcdl export k3f9 --json
    """
    run = options.find(run_name, places)
    in_job = backend == "slurm"
    if (in_job or wait) and not kinds:
        raise click.UsageError("--backend and --wait go with --to KIND, which makes something")
    if wait and not in_job:
        raise click.UsageError("--wait goes with --backend slurm; on this machine it always waits")
    if kinds:
        _require_model(run, list(kinds))
    if in_job:
        from hpcdl.cli.export_job import export_on_node

        code = export_on_node(run, kinds, places.cluster, wait)
        if code != 0 or not wait:
            return code
    elif kinds:
        _make(run, list(kinds))
    from hpcdl.run.exported import read_exported

    every = read_exported(run.paths)
    _show(run, every, as_json)
    for exported in every:
        if exported.kind in kinds and (exported.why or exported.why_not_again):
            return 1
    return 0


def _show(run: Run, every: list[Exported], as_json: bool) -> None:
    from hpcdl.report import exports

    if as_json:
        click.echo(json.dumps([asdict(exported) for exported in every], indent=2))
        return
    if not every:
        state = "has an export.json that is damaged or empty; make again what you need"
        if not run.paths.export_table.exists():
            _require_trained(run)
            state = "has no exported model; make one"
        command = hpcdl_command("export", run.paths.root, "--to", "tflite")
        raise UserError(f"{run.paths.root} {state}: {command}")
    made = exports.rows(every)
    if made:
        for line in aligned([list(exports.TITLES), *made]):
            click.echo(line.replace("\u00a0", " "))
    for sentence in exports.refused(every):
        click.echo(f"not exported: {sentence}")
    for exported in every:
        if exported.file and not (run.paths.export / exported.file).exists():
            command = hpcdl_command("export", run.paths.root, "--to", exported.kind)
            click.echo(
                f"gone: {exported.kind}: {exported.file} was removed; make it again: {command}"
            )
    click.echo(f"in {run.paths.export}")


def _require_trained(run: Run) -> None:
    """Raise a `JobError` with the reasons why the run has no model that could be exported."""
    from hpcdl.run.trained import trained

    problems: list[Problem] = []
    trained(run, problems)
    if problems:
        raise JobError("hpcdl export", problems)


def _require_model(run: Run, kinds: list[str]) -> None:
    """Raise a `UserError` if there are no such kinds, or if the run has no model."""
    root = run.paths.root
    for place, expected, hint in kind_problems(kinds):
        raise UserError(f"--to {kinds[place]}: expected {expected}{hint}")
    result = run.result()
    if run.status().state != states.DONE or result is None:
        raise UserError(f"{root} is {run.status().state}; only a run that is done has a model")
    if run.is_script() or "file" not in (result.get("model") or {}):
        raise UserError(f"{root} has no model that hpcdl trained, so there is nothing to export")


def _make(run: Run, kinds: list[str]) -> None:
    """Export a run's model here, showing the log.

    Raises:
        RunError: the program failed.
    """
    from hpcdl.shell import argv_for_export

    argv, env, workdir = argv_for_export(run.paths, kinds)
    log = _new_log(run.paths)
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
