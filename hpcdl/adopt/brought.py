"""Whether a program's file or folder, not there now, may be there when the program starts."""

from __future__ import annotations

from hpcdl.batchscript.model import BatchScript, Command, Program
from hpcdl.errors import Problem

_BRINGERS = (
    *("cp", "mv", "ln", "rsync", "git", "wget", "curl", "tar", "unzip", "tee"),
    *("scp", "sbcast", "rclone", "install"),
)
_OF_NODES = "correct that line, or see whether the nodes have it: their own disks are not seen here"
_INTO_FILES = (">", ">>", ">|", "&>", "&>>")


def may_come(script: BatchScript, problem: Problem) -> str:
    """What to do about a missing file or folder that may be there in time; empty for all else.

    A folder never blocks: a script whose ``cd`` fails goes on, and its file is looked at by itself.
    """
    is_folder = problem.key == "workdir" and problem.message.startswith("there is no folder")
    is_file = problem.key == "script" and problem.message.startswith("there is no file")
    if not is_folder and not is_file:
        return ""
    makers = (*_BRINGERS, "mkdir") if is_folder else _BRINGERS
    for program in script.programs:
        if program.script is None or problem.where != f"{script.shown}:{program.command.line}":
            continue
        command = _brought_by(script, program, makers)
        if command is not None:
            return f"see whether line {command.line} makes it; it is not looked at here"
        if program.command.conditional:
            return "the script may not come to this; see whether it is there when it does"
    return _OF_NODES if is_folder else ""


def _brought_by(script: BatchScript, program: Program, makers: tuple[str, ...]) -> Command | None:
    """The first command above a program that may make what it needs; None where there is none."""
    raw = program.script.raw if program.script is not None else ""
    name = raw.strip("\"'").rpartition("/")[2]
    for command in script.commands:
        if command is program.command:
            return None
        if command.name in makers or _writes(command, name):
            return command
    return None


def _writes(command: Command, name: str) -> bool:
    """Whether a command's output goes into a file of that name."""
    for redirect in command.redirects:
        target = redirect.target.raw.strip("\"'")
        if redirect.operator in _INTO_FILES and target.rpartition("/")[2] == name:
            return True
    return False
