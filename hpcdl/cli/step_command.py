"""A command of hpcdl's that a node runs: whether its words fit, and which data set it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hpcdl.planning import Command, Program
    from hpcdl.preflight import Finding, Note, Subject


def words_fit(subject: Subject) -> Iterator[Finding | Note]:
    """The command has the arguments and options that it needs, and no others."""
    from hpcdl.planning import Command
    from hpcdl.preflight import Finding

    program = subject.plan.program
    if not isinstance(program, Command):
        return
    try:
        _values(program)
    except click.exceptions.Exit:
        yield Finding("it only shows help", "take --help away", "job", "hpcdl")
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "hpcdl")
        yield Finding(error.format_message(), f"see {path} --help", "job", "hpcdl")


def made_by(program: Program) -> list[str]:
    """The data sets that a job makes, as far as its words tell: those of ``hpcdl data``."""
    from hpcdl.planning import Command
    from hpcdl.staging import set_path

    if not isinstance(program, Command) or program.words[0] != "data":
        return []
    try:
        values = _values(program)
    except (click.exceptions.Exit, click.ClickException):  # the check says so
        return []
    root, here = str(values.get("data_root") or ""), program.workdir or os.getcwd()
    if program.words[1] == "stage" and root:
        return [set_path(os.path.join(here, root), values["name"])]
    if program.words[1] != "pack":
        return []
    if values.get("to") is not None:
        return [os.path.normpath(os.path.join(here, values["to"]))]
    name = values.get("name") or os.path.basename(os.path.normpath(values["folder"]))
    return [os.path.normpath(os.path.join(here, root, name))] if root else []


def _values(command: Command) -> dict[str, Any]:
    """The values of a command's arguments and options, by name.

    Raises:
        click.ClickException: they do not fit.
        click.exceptions.Exit: they ask for help.
    """
    from hpcdl.cli.program import program

    parser: click.Command = program
    words, name = list(command.words), "hpcdl"
    context: click.Context | None = None
    while isinstance(parser, click.Group):
        context = click.Context(parser, context, info_name=name)
        found, inner, words = parser.resolve_command(context, words)
        if inner is None or found is None:
            raise click.UsageError(f"no command {' '.join(command.words)}")
        parser, name = inner, found
    return parser.make_context(name, words, parent=context).params
