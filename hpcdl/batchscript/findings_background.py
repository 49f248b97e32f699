"""A program in the background, and a script that ends without it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.comments import without_comment
from hpcdl.batchscript.model import BatchScript, Command, Program, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings

# Commands that are over at once, so that the script ends behind them
_SHORT = ("echo", "printf", "date", "hostname", "pwd", "exit", "module", "squeue", "conda", "cd")
# What may wait in its own way, also by a function or a trap
_WAITS = re.compile(r"wait|\btrap\b|\bcoproc\b|\bfg\b")


def background_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """The last program stands before & and nothing waits: SLURM ends the job with the script."""
    if script.unread or any(_WAITS.search(without_comment(line)) for line in _lines(script)):
        return
    programs = {id(program.command): program for program in script.programs}
    for command in reversed(script.commands):
        if command.function or command.substituted:
            return  # when this runs is not known
        if command.background:
            if _computes(programs.get(id(command))):
                yield _finding(command)
                return
        elif command.words and command.name not in _SHORT:
            return  # it keeps the script alive, for all that is known


def _lines(script: BatchScript) -> list[str]:
    return [line for line in script.text.split("\n") if not line.lstrip().startswith("#")]


def _computes(program: Program | None) -> bool:
    """Whether a program is one for which people send jobs, as far as its line says."""
    return program is not None and bool(program.python or program.launchers or program.container)


def _finding(command: Command) -> ScriptFinding:
    return ScriptFinding(
        "nothing-waits",
        command.line,
        "this runs in the background (&), and nothing waits for it: with the script SLURM ends the "
        "job, and the program in it",
        "a last line in the script: wait",
    )
