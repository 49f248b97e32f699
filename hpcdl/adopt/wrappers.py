"""What stands in front of the program: srun's options, the variables of env, nice and the like."""

from __future__ import annotations

import re

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.environment import add_exported, add_variable
from hpcdl.adopt.folders import Folders
from hpcdl.adopt.options import of_pyxis
from hpcdl.adopt.size import Shape
from hpcdl.adopt.values import Values
from hpcdl.adopt.written import option_text, pair_of
from hpcdl.batchscript.model import Assignment, Launcher, Program, Word, Wrapper
from hpcdl.batchscript.programnames import CONTAINERS

_SILENT = frozenset(["time", "exec", "command", "builtin", "nohup"])
_QUIET = ("-q", "--quiet", "-s", "--silent")
_INSTEAD = {
    "timeout": "resources.time is the job's end",
    "numactl": "let the program bind itself",
    "taskset": "let the program bind itself",
}
_LOG = ("output", "error", "label", "unbuffered")
# The tasks are checked elsewhere, and the folder is the program's
_CARRIED = ("ntasks", "ntasks-per-node", "chdir")
_OWN_SRUN = "an option of srun's, and hpcdl starts a job's program with its own srun"
_NAME = re.compile(r"[A-Za-z_]\w*")


def add_wrappers(
    draft: Draft, program: Program, values: Values, folders: Folders, clean: bool
) -> None:
    """Write the variables of env, and note what else is in front of the program.

    Args:
        draft: the job file.
        program: the program.
        values: of the script's words.
        folders: where paths start.
        clean: whether the container gets only the variables that are meant for it.
    """
    line = program.command.line
    for wrapper in program.wrappers:
        if wrapper.name == "env":
            _add_env(draft, wrapper, values, folders, clean, line)
        elif wrapper.name in CONTAINERS:
            options = [word.raw for word in wrapper.words[1:] if word.raw not in _QUIET]
            for option in options:
                why = f"an option of {wrapper.name}'s that a job has not"
                draft.leave(line, f"{wrapper.name} {option}", why)
        elif wrapper.name not in _SILENT or len(wrapper.words) > 1:
            text = " ".join(word.raw for word in wrapper.words)
            why = "a job starts its program by itself, and not with this"
            draft.leave(line, text, why, _INSTEAD.get(wrapper.name, ""))


def _add_env(
    draft: Draft, wrapper: Wrapper, values: Values, folders: Folders, clean: bool, line: int
) -> None:
    """Write the variables of ``env NAME=value``."""
    words = list(wrapper.words[1:])
    while words:
        word = words.pop(0)
        name, value = pair_of(word)
        is_variable = "=" in word.raw and bool(_NAME.fullmatch(name))
        if is_variable and wrapper.is_inside:
            add_variable(draft, values, name, value, line)
            continue
        if is_variable:
            add_exported(draft, values, folders, Assignment(name, value, line, True), clean)
            continue
        raw = word.raw
        if raw in ("-u", "-C", "--unset", "--chdir") and words:
            raw = f"{raw} {words.pop(0).raw}"
        if raw.startswith(("-C", "--chdir")) and not wrapper.is_inside:
            continue  # the program's folder
        why = "an option of env's: a job gives its program what stands in env"
        draft.leave(line, f"env {raw}", why, "take out of env what the program must not have")


def add_srun_options(
    draft: Draft, launcher: Launcher, values: Values, shape: Shape, line: int
) -> None:
    """Note each option of srun that a job does not have."""
    for name, word in launcher.options.items():
        text = option_text(name, word)
        if name.startswith(("container-", "no-container-")):
            draft.leave(line, text, "a job's container is Apptainer's, not pyxis's", of_pyxis(name))
        elif name == "export":
            _add_export(draft, word, values, line)
        elif name in _LOG:
            draft.leave(line, text, "the output is the run's log", "hpcdl logs RUN shows it")
        elif name not in _CARRIED and not _is_the_jobs(draft, name, word, values, shape, line):
            fix = "resources: {cpus: N} says how many it gets" if name == "cpus-per-task" else ""
            draft.leave(line, text, _OWN_SRUN, fix)


def _is_the_jobs(
    draft: Draft, name: str, word: Word | None, values: Values, shape: Shape, line: int
) -> bool:
    """Whether an option of srun says what the job has anyway."""
    text = values.text(word, line)
    if name == "nodes":
        return text == str(shape.nodes)
    if name == "mpi":
        return text == "none"
    own = draft.script.directive(name)
    return own is not None and own.value == text


def _add_export(draft: Draft, word: Word | None, values: Values, line: int) -> None:
    """Write the variables of ``srun --export=ALL,NAME=value``."""
    text = values.text(word, line)
    if text is None:
        draft.leave(line, option_text("export", word), "only the running script knows its value")
        return
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name in draft.of_image:
            continue
        if equals and _NAME.fullmatch(name):
            add_variable(draft, values, name, Word(value, value), line)
        elif part != "ALL":
            why = "a job's program gets what stands in env"
            draft.leave(line, f"--export={part}", why, "say there what it needs")
