"""GPUs that a script chooses by number, where SLURM has chosen them: CUDA_VISIBLE_DEVICES=0."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import BatchScript, ScriptFinding
from hpcdl.batchscript.sizes import asks_gpus, gpus_in
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

_CUDA = "CUDA_VISIBLE_DEVICES"
_CUDAS = (_CUDA, f"SINGULARITYENV_{_CUDA}", f"APPTAINERENV_{_CUDA}")  # the others: in a container
_WHOLE_NODE = 4  # GPUs; few nodes have more, and a job with so many mostly has one for itself
_NUMBERS = re.compile(r"\d{1,4}(?:,\d{1,4})*")
_NAME = rf"(?:SINGULARITYENV_|APPTAINERENV_)?{_CUDA}"
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s;&|"'()`]*)"""
_SET = rf"{_NAME}={_VALUE}"
_EXPORT = r"(?:(?:export|declare -x|typeset -x)[ \t]+)?"
# A line that has nothing else
_ALONE = re.compile(rf"\s*{_EXPORT}{_SET}[ \t]*(?:;|\\)?[ \t]*(?:(?<!\S)#.*)?")
# A command of its own, with what divides it from the next one
_COMMAND = re.compile(
    rf"(?:(?P<begin>^\s*|(?<!;);[ \t]*){_EXPORT}{_SET}[ \t]*(?:;(?!;)|&&|$)[ \t]*"
    rf"|(?P<both>&&[ \t]*){_EXPORT}{_SET}[ \t]*&&[ \t]*)"
)
# In front of a command, or an option of the container's
_PREFIX = re.compile(rf"(?<![^\s\"'])(?:--env[ =])?{_SET}[ \t]+(?=[\w./~$\"'-]|\\$)")
_DECLARES = re.compile(r"(?:^|[\s;&|({])(?:export|declare|typeset|readonly|local)\s[^;&|]*$")
_OPENS = re.compile(r".*(?:(?<!\w)(?:then|do|else)|[{(])\s*")


def cuda_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """Settings of CUDA_VISIBLE_DEVICES to numbers, in a job that has GPUs."""
    if not asks_gpus(script):
        return
    for line, text in dict.fromkeys(_settings(script)):
        if not _NUMBERS.fullmatch(text):
            continue
        numbers = [int(number) for number in text.split(",")]
        if not _are_all(script, numbers):
            what = f"{_CUDA}={text} is set by hand; SLURM sets it to the GPUs that the job has"
            cause = f"{what}, and {_harm(script, numbers)}"
            yield ScriptFinding("cuda-visible-devices", line, cause, _remedy(script, line))


def _settings(script: BatchScript) -> Iterator[tuple[int, str]]:
    """The lines in which the variable is set for a program, and its values."""
    for assignment in script.assignments:
        if assignment.name in _CUDAS and assignment.exported:
            yield assignment.line, assignment.word.text or ""
    for command in script.commands:
        if not command.background:  # several programs, each with a part of the job's GPUs
            for name, word in command.env:
                if name in _CUDAS:
                    yield command.line, word.text or ""
    for program in script.programs:
        for value in program.container.values("env") if program.container else []:
            name, _, text = (value.text or "").partition("=")
            if name == _CUDA:
                yield program.command.line, text


def _gpus_on_node(script: BatchScript) -> int | None:
    """How many GPUs the job has on a node, where it says so."""
    per_node = gpus_in(script.value("gpus-per-node")) or gpus_in(script.value("gres"), is_list=True)
    if per_node is None and script.value("nodes") == "1":
        per_node = gpus_in(script.value("gpus"))
    return per_node


def _are_all(script: BatchScript, numbers: list[int]) -> bool:
    """Whether these are all GPUs of a node that has no more: the job has them anyway."""
    per_node = _gpus_on_node(script)
    if per_node is None or (per_node < _WHOLE_NODE and not script.directive("exclusive")):
        return False
    return sorted(numbers) == list(range(per_node))


def _harm(script: BatchScript, numbers: list[int]) -> str:
    """What comes of the numbers: where devices are held apart they begin at 0 in each job."""
    most = _gpus_on_node(script) or gpus_in(script.value("gpus"))
    if most is not None and numbers[0] >= most:
        return f"of {most} the numbers begin at 0: mostly the program gets no GPU at all"
    if most is not None and max(numbers) >= most:
        return f"of {most} the numbers begin at 0: mostly it has no number {max(numbers)}"
    return "where the site does not hold the devices apart, these may be another job's"


def _remedy(script: BatchScript, number: int) -> str:
    """The line without the setting; to take the line away where nothing else is in it."""
    line = script.line(number)
    setting = re.search(_SET, line)
    if setting is None:
        return f"take {_CUDA} out of what line {number} starts"
    if _ALONE.fullmatch(line):
        above = _code_above(script, number)
        if not _OPENS.fullmatch(above) and not above.endswith("\\"):
            return f"remove line {number}; SLURM sets it"
    else:
        rest = _without(line)
        if rest is not None:
            return f"line {number} without it: {cut(one_line(rest.strip()), 120)}"
    return f"take {setting[0]} out of line {number}; SLURM sets it"


def _code_above(script: BatchScript, number: int) -> str:
    """The last line above that has a command."""
    number -= 1
    while number > 1 and re.fullmatch(r"\s*(?:#.*)?", script.line(number)):
        number -= 1
    return script.line(number)


def _without(line: str) -> str | None:
    """A line without the setting; None where what is left might do something else."""
    if len(re.findall(_SET, line)) > 1:
        return None
    command = _COMMAND.search(line)
    if command is not None:
        begin = command["begin"] or command["both"] or ""
        return line[: command.start()] + begin + line[command.end() :]
    prefix = _PREFIX.search(line)
    if prefix is None or _DECLARES.search(line[: prefix.start()]):
        return None
    return line[: prefix.start()] + line[prefix.end() :]
