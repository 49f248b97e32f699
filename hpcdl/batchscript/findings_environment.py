"""Variables that do not reach the job: what --export names and does not bring."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from hpcdl.batchscript.model import BatchScript, Directive, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_NAME = re.compile(r"\s*[A-Za-z_]")
# Names that a shell, SLURM, a login or modules set, whatever --export says
_THERE = re.compile(
    r"(?:SLURM|SRUN|BASH|COMP|CUDA|EB|LMOD|MODULE|CONDA|VIRTUAL_ENV|LC|XDG|SSH|OMP|MKL|PMI|UCX)"
    r"_?\w*|\w*(?:_HOME|_ROOT|_DIR|_PATH|_BASE|_PREFIX|DIR|PATH)"
    r"|HOME|USER|LOGNAME|SHELL|HOSTNAME|HOST|HOSTTYPE|MACHTYPE|OSTYPE|LANG|TERM|TMP|TEMP|IFS|PS\d"
    r"|UID|EUID|PPID|RANDOM|SRANDOM|SECONDS|EPOCH\w+|LINENO|FUNCNAME|PIPESTATUS|OLDPWD|PWD|REPLY"
    r"|OPTARG|OPTIND|GROUPS|DIRSTACK|SHLVL|SHELLOPTS|EDITOR|MAIL|TZ"
    r"|\w*(?:SCRATCH|WORK|PROJECT|STORE|STORAGE|DATA_?ROOT)\w*"
)
_SETS_ALL = ("source", ".", "eval")
_LOADERS = ("module", "ml", "spack", "micromamba", "conda", "mamba")


def environment_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """What is wrong with variables."""
    export = script.directive("export")
    if export is not None and export.value is not None:
        yield from _export(script, export, export.value)


def _export(script: BatchScript, export: Directive, value: str) -> Iterator[ScriptFinding]:
    """What --export names and does not bring, and what the script uses and does not get."""
    match = _VARIABLE.search(value)
    if match:
        yield _lost(
            export,
            f"no shell reads an #SBATCH line: the job gets the text {_shown(_item(value, match))}",
            f"a line of the script: export {_shown(_item(value, match))}, and without it here",
        )
    items = value.split(",")
    if any(item != item.strip() or " " in item.partition("=")[0] for item in items):
        fixed = ",".join(item.strip() for item in items)
        yield _lost(
            export,
            "a blank is part of the name behind it: that variable is not brought",
            f"no blanks in the list: #SBATCH --export={_shown(fixed)}",
        )
    yield from _cut_short(export, items)
    names = {item.strip().partition("=")[0] for item in items}
    if "ALL" in names:
        return
    missing = _missing(script, names)
    if missing:
        shown = ", ".join(f"${name}" for name in missing[:5])
        items = [] if value.upper() in ("NONE", "NIL") else items
        brought = ",".join([*items, *(f"{name}=VALUE" for name in missing[:5])])
        yield _lost(
            export,
            f"the script uses {shown}, which --export={_shown(value)} does not bring: unless your "
            "login files set it, there is nothing in its place",
            f"lines of the script that set them, or: #SBATCH --export={_shown(brought)}",
        )
    yield from _steps(script, export, value)


def _cut_short(export: Directive, items: list[str]) -> Iterator[ScriptFinding]:
    """A value with a comma, which ends it: of L=64,32 the job gets L=64."""
    for before, item in pairwise(items):
        name, equals, value = before.partition("=")
        if equals and item and not _NAME.match(item):
            yield _lost(
                export,
                f"a comma ends a value: the job gets {_shown(before)}, and {_shown(item)} is lost",
                f"a line of the script: export {_shown(f'{name}={value},{item}')}, and without it "
                "here",
            )
            return


def _missing(script: BatchScript, names: set[str]) -> list[str]:
    """Variables that the script uses, and that nothing sets."""
    if any(command.name in _SETS_ALL for command in script.commands):
        return []  # another file may set them
    set_here = {assignment.name for assignment in script.assignments}
    words = {word.raw for command in script.commands for word in command.words}
    loads = [command.line for command in script.commands if command.name in _LOADERS]
    missing = []
    for name, line in script.uses:
        if loads and loads[0] <= line:
            continue  # a module may set it
        is_set = name in names | set_here | script.set_names or name in words
        if not is_set and name.isidentifier() and not _THERE.fullmatch(name):
            missing.append(name)
    return list(dict.fromkeys(missing))


def _steps(script: BatchScript, export: Directive, value: str) -> Iterator[ScriptFinding]:
    """srun hands on what sbatch was told: a module that was loaded does not reach the step."""
    touched = {
        command.words[1].raw.partition("=")[0]
        for command in script.commands
        if command.name in ("unset", "export") and len(command.words) > 1
    }
    if touched & {"SLURM_EXPORT_ENV", "SRUN_EXPORT_ENV"}:
        return
    loads = [
        c.line
        for c in script.commands
        if c.starter is None
        and c.name in ("module", "ml", "conda", "source")
        and any(w.text in ("load", "activate", "add") for w in c.words)
    ]
    for program in script.programs:
        for launcher in program.launchers:
            is_late = any(line < launcher.command.line for line in loads)
            if launcher.name == "srun" and "export" not in launcher.options and is_late:
                yield _lost(
                    export,
                    f"srun in line {launcher.command.line} hands on what --export={_shown(value)} "
                    "says: its programs get nothing of what the script has loaded or set",
                    "a line above the first srun: export SLURM_EXPORT_ENV=ALL",
                )
                return


def _item(value: str, match: re.Match[str]) -> str:
    """The item of a list in which something was found."""
    begin = value.rfind(",", 0, match.start()) + 1
    end = value.find(",", match.end())
    return value[begin : end if end >= 0 else len(value)]


def _lost(export: Directive, cause: str, fix: str) -> ScriptFinding:
    return ScriptFinding("export-lost", export.line, cause, fix)


def _shown(text: str) -> str:
    return cut(one_line(text), 120)
