"""Values that sbatch takes, and that say something else than is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import BatchScript, Directive, ScriptFinding
from hpcdl.batchscript.sizes import asks_gpus
from hpcdl.batchscript.surroundings import Surroundings

_LEAST_MB = 128  # with less no Python program imports its libraries
_OF_EACH_TASK = re.compile(r"%\d*[ajJNn]")  # the array's number, the job's own, its node
_SEVERAL = re.compile(r"(?!(\d+)-\1(?:%|$))\d+[-,][^%]*(?:%\d+)?")


def meant_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """Megabytes for gigabytes, and one output file for a whole array."""
    if script.components > 1:
        return
    memory = script.directive("mem")
    is_large = asks_gpus(script) or any(program.python for program in script.programs)
    if memory and is_large and _is_little(memory.value or ""):
        yield _megabytes(memory)
    array = script.value("array")
    if array and _SEVERAL.fullmatch(array) and script.value("open-mode") is None:
        for name in ("output", "error"):
            directive = script.directive(name)
            if directive and _is_one_file(directive.value or ""):
                yield _one_file(directive)


def _is_little(text: str) -> bool:
    """Whether it is a number without a unit, other than 0, which is all memory of a node."""
    return re.fullmatch(r"\d{1,4}", text) is not None and 0 < int(text) <= _LEAST_MB


def _megabytes(memory: Directive) -> ScriptFinding:
    return ScriptFinding(
        "memory-unit",
        memory.line,
        f"--mem={memory.value} without a unit is in MB, and {memory.value} MB are too few for "
        "Python with its libraries",
        f"if GB are meant: #SBATCH --mem={memory.value}G",
    )


def _is_one_file(name: str) -> bool:
    if not name or name.startswith("/dev/") or "\\" in name or "$" in name:
        return False
    return _OF_EACH_TASK.search(name.replace("%%", "")) is None


def _one_file(directive: Directive) -> ScriptFinding:
    name = directive.value or ""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    own = f"{folder}{slash}{stem}{'' if '%A' in name else '_%A'}_%a{dot}{ending}"
    return ScriptFinding(
        "one-output",
        directive.line,
        f"all tasks of the array write the one file {name}, and wipe out what another wrote",
        f"a file for each: #SBATCH --{directive.name}={own}",
    )
