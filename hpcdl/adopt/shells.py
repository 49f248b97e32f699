"""The shells of bash -c around the program, and those whose text is not read."""

from __future__ import annotations

from hpcdl.adopt.draft import Draft
from hpcdl.batchscript.innertext import inner_text
from hpcdl.batchscript.model import Command, Program
from hpcdl.batchscript.programs import program_of

_VARIABLES = "write the variables that the program needs from there under env:"
_BUILTINS = (
    "cd",
    "export",
    "set",
    "unset",
    "source",
    ".",
    "ulimit",
    "module",
    "ml",
    "exit",
    "trap",
)


def is_silent(program: Program) -> bool:
    """Whether a program only prepares a shell for another one."""
    return program.command.starter is not None and program.name in _BUILTINS


def add_shells(draft: Draft, program: Program) -> None:
    """Note what a shell around the program does besides starting it."""
    for command in program.starters:
        started = program_of(command)
        inner = inner_text(started)
        if started is not None and inner is not None and inner.reads_files:
            text = " ".join(word.raw for word in started.words[:2])
            why = "this shell reads the user's own files first, and a job does not"
            draft.leave(command.line, text, why, _VARIABLES)


def why_unread(command: Command) -> str:
    """Why the commands in the text of a bash -c are not known; empty for any other command."""
    inner = inner_text(program_of(command))
    if inner is None or command.is_read:
        return ""
    if inner.word.unknown:
        return f"only the running script knows this text, for {', '.join(inner.word.unknown)}"
    return "hpcdl does not read this text: it has functions, or is not clear"
