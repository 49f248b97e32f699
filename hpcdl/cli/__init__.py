"""The command line: one file per command, loaded when it is called; errors become text and exit codes here only."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

import hpcdl
from hpcdl.errors import HpcdlError

# The commands in the order a user meets them, with their one-line help: --help loads none of them.
COMMANDS = {
    "init": "Keep your cluster, account and image in a file of yours.",
    "jobs": "List and copy the jobs that ship with hpcdl.",
    "data": "Stage data sets and weights, list and verify them.",
    "render": "Print the batch script of a job.",
    "check": "Find out whether a job could run, and send nothing.",
    "submit": "Submit a job to SLURM, or run it on this machine.",
    "status": "Show runs and their states.",
    "wait": "Wait until a run has ended, showing its progress.",
    "logs": "Print a run's log.",
    "result": "Show what came out of a run.",
    "report": "Write a run's report, one HTML page.",
    "compare": "Lay runs side by side.",
    "tensorboard": "Show runs' curves in TensorBoard.",
    "cancel": "Cancel a run for good.",
    "resume": "Go on with a run that ended too early.",
    "clean": "Show what runs take up, and remove what is not needed.",
    "shell": "Open a job's or run's container by hand.",
    "image": "Look into a container image.",
    "env": "Install what the image lacks.",
    "cluster": "List, show and discover cluster profiles.",
}


class _Commands(click.Group):
    """Finds each command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"hpcdl.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from hpcdl.job.walker import did_you_mean

            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(hpcdl.__version__, prog_name="hpcdl", message="%(prog)s %(version)s")
def program() -> None:
    """Train image classifiers, or run any Python script, on SLURM clusters.

    One small YAML file says what to run. TensorFlow comes from a container image.

    \b
    hpcdl jobs copy mnist_cnn                            a job file to start from
    hpcdl submit mnist_cnn.yaml --backend local --wait   try it on this machine
    hpcdl render mnist_cnn.yaml --cluster generic        read what would be sent
    hpcdl submit mnist_cnn.yaml --cluster generic --wait
    hpcdl submit MNIST.py --gpus 1 --time 00:30:00       a script of yours, without a job file

    A result goes to stdout, talk to stderr. Exit codes: 0 done, 1 the world
    failed (SLURM, a file system, the training), 2 something you gave is wrong.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code.

    Args:
        argv: the arguments after ``hpcdl``; None for this process's own.
    """
    try:
        code = program.main(args=list(sys.argv[1:] if argv is None else argv), prog_name="hpcdl", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HpcdlError as error:
        click.echo(f"hpcdl: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output left, as in `hpcdl logs RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def entrypoint() -> None:
    """The ``hpcdl`` command."""
    sys.exit(main())
