"""The group of all commands; errors become text and exit codes here only."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from hpcdl.cli import COMMANDS
from hpcdl.errors import HpcdlError


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
            from hpcdl.text import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            if args[0] == "help":
                hint = ", but an option: hpcdl --help, or behind a command: hpcdl check --help"
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(context: click.Context, parameter: click.Parameter, is_asked: bool) -> None:
    if not is_asked or context.resilient_parsing:
        return
    from hpcdl.contract.version import __version__

    click.echo(f"hpcdl {__version__}")
    context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def program() -> None:
    """Train image classifiers, or run any Python script, on SLURM clusters.

    One small YAML file says what to run. TensorFlow comes from a container image.

    \b
    hpcdl jobs copy mnist_cnn                            a job file to start from
    hpcdl submit mnist_cnn.yaml --backend local --wait   try it on this machine
    hpcdl render mnist_cnn.yaml --cluster generic        read what would be sent
    hpcdl submit mnist_cnn.yaml --cluster generic --wait
    hpcdl submit MNIST.py --gpus 1 --time 00:30:00       a script of yours, without a job file
    hpcdl check MNIST.slurm                              what is wrong in a batch script of yours

    Results go to stdout, messages to stderr. Exit codes: 0 done; 1 something
    around hpcdl failed (SLURM, a file system, the training); 2 something that
    you gave is wrong.
    """


def run(argv: Sequence[str]) -> int:
    """Run one command line and give its exit code.

    An expected error becomes a message here. With HPCDL_DEBUG set, an error of the operating
    system shows its traceback, too.

    Args:
        argv: the arguments after ``hpcdl``.
    """
    try:
        code = program.main(args=list(argv), prog_name="hpcdl", standalone_mode=False)
        sys.stdout.flush()
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
    except OSError as error:
        if os.environ.get("HPCDL_DEBUG"):
            import traceback

            traceback.print_exc()
        return _refused(error)
    return code if isinstance(code, int) else 0


def _refused(error: OSError) -> int:
    """Say what the operating system refused, and give the exit code.

    It is 0 if only the reader of our output left.
    """
    from hpcdl.oserrors import sentence

    if error.filename is None and _came_from_printing(error):
        error.filename = "standard output"
        with suppress(OSError):  # else Python tries to print again at its end, and fails there
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # as in `hpcdl logs RUN | head`
            return 0
    with suppress(OSError):
        click.echo(f"hpcdl: {sentence(error)}", err=True)
    return 1


def _came_from_printing(error: OSError) -> bool:
    """Whether a ``print`` raised it: in click, or in a command's own lines."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    file = step.tb_frame.f_code.co_filename if step is not None else ""
    return os.path.dirname(file) in (os.path.dirname(click.__file__), os.path.dirname(__file__))
