"""A job of hours that keeps nothing before its end: how much is lost when it is stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import BatchScript, Program, ScriptFinding
from hpcdl.batchscript.programcode import code_of
from hpcdl.batchscript.sizes import size_of
from hpcdl.batchscript.surroundings import Surroundings

_FROM_S = 4 * 3600  # shorter jobs are soon done again
_SAVES = re.compile(r"check[-_]?point|ckpt|resume|restart|restore|backup|snapshot", re.IGNORECASE)
_STARTERS = ("torchrun", "accelerate", "horovodrun", "deepspeed", "bash", "sh", "eval", "xargs")


def checkpoint_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """Long jobs whose programs are all at hand, and of which none keeps its state."""
    size, time = size_of(script), script.directive("time")
    if time is None or size.seconds is None or size.seconds < _FROM_S or _is_prepared(script):
        return
    pythons = [program for program in script.programs if program.python is not None]
    if not pythons or script.unread or _starts_others(script):
        return
    codes = [code_of(script, program, around.folder) for program in pythons if _is_long(program)]
    if not codes or any(code is None or code.saves or not code.is_whole for code in codes):
        return
    hours = size.seconds / 3600
    lost = f"up to {hours:g} hours"
    if size.gpus:
        lost = f"up to {hours * size.gpus:g} GPU-hours"
    yield ScriptFinding(
        "no-checkpoint",
        time.line,
        f"the program keeps nothing before its end, and no signal warns it: at the time limit, or "
        f"when a node fails, {lost} are lost",
        "save while it trains (keras.callbacks.BackupAndRestore), go on from there, and add "
        "#SBATCH --requeue for nodes that fail; for the time limit #SBATCH --signal=B:USR1@300 "
        "with both of these: trap 'scontrol requeue $SLURM_JOB_ID' USR1 above the program, and "
        "& wait behind it",
    )


def _is_prepared(script: BatchScript) -> bool:
    """Whether the script shows that it can go on after an end."""
    if script.directive("signal") or script.directive("requeue"):
        return True
    words = [word.raw for command in script.commands for word in command.words]
    names = [assignment.name for assignment in script.assignments]
    if any(_SAVES.search(text) for text in (*words, *names)):
        return True
    traps = filter(lambda command: command.name == "trap", script.commands)
    return any(re.search(r"USR|TERM|INT|\b1[025]\b", trap.text) for trap in traps)


def _starts_others(script: BatchScript) -> bool:
    """Whether programs that we cannot read may do the long work."""
    for program in script.programs:
        name = (program.words[0].text or "") if program.words else ""
        if program.python is not None or program.command.substituted:
            continue
        is_file = "/" in name and not name.startswith(("/bin/", "/usr/bin/"))
        if program.launchers or is_file or not name or name in _STARTERS:
            return True
    return False


def _is_long(program: Program) -> bool:
    """Whether a program may run for long: not python --version, not a line with -c."""
    if program.script is None and program.module is None:
        return program.command.heredoc is not None
    return not (program.module is not None and program.module.text in ("pip", "venv"))
