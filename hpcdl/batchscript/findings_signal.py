"""A signal that SLURM sends to the script itself: without a trap, bash dies of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import BatchScript, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings

_NUMBERS = {"HUP": 1, "INT": 2, "USR1": 10, "USR2": 12, "ALRM": 14, "TERM": 15}  # bash dies of them
_SIGNAL = re.compile(r"(?:\w*B\w*):(?:SIG)?(\w+)(?:@\d+)?", re.IGNORECASE)


def signal_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """--signal=B:USR1@300 that nothing traps, or whose trap has to wait for the program."""
    directive = script.directive("signal")
    match = _SIGNAL.fullmatch(directive.value or "") if directive else None
    if directive is None or match is None or script.unread:
        return
    name = match[1].upper()
    for known, number in _NUMBERS.items():
        if name == str(number):
            name = known
    if name not in _NUMBERS or script.commands_named("source", ".", "eval", "exec"):
        return  # what else may trap it, or take bash's place, is not known
    traps = []
    for command in script.commands_named("trap"):
        signals = {word.raw.upper().removeprefix("SIG") for word in command.words[2:]}
        if {name, str(_NUMBERS[name])} & signals:
            traps.append(command)
    example = (
        f"trap 'scontrol requeue $SLURM_JOB_ID' {name} above the program, and & wait behind it"
    )
    if not traps:
        yield ScriptFinding(
            "signal-untrapped",
            directive.line,
            f"SLURM sends {name} to the script alone, which has no trap for it: bash dies of it, "
            "and the job ends early",
            f"{example}; or without B:, so that the steps of srun get it",
        )
    elif _waits_in_vain(script) and any(
        word.raw not in ("''", '""') for word in traps[0].words[1:2]
    ):
        yield ScriptFinding(
            "signal-untrapped",
            directive.line,
            f"bash runs the trap for {name} when the program in front has ended, which is too late",
            f"let the program run beside it: {example}",
        )


def _waits_in_vain(script: BatchScript) -> bool:
    """Whether all programs that compute run in front, so that bash hears nothing meanwhile."""
    if script.commands_named("wait"):
        return False
    for program in script.programs:
        if program.command.background:
            return False
    return any(p.python or p.launchers or p.container for p in script.programs)
