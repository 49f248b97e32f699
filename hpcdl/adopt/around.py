"""The script's other commands: what a job does by itself, and what somebody has to do instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from shlex import quote
from typing import Any

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.quantities import first_index, indices
from hpcdl.adopt.secrets import hidden
from hpcdl.adopt.shells import why_unread
from hpcdl.adopt.size import Shape, require_one_task
from hpcdl.adopt.values import Values
from hpcdl.adopt.wrappers import add_srun_options
from hpcdl.adopt.written import option_text, unbroken
from hpcdl.batchscript.model import Command, Launcher, Program, Word, name_of
from hpcdl.batchscript.programs import program_of
from hpcdl.contract.settings import join
from hpcdl.text import hpcdl_command
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.writer import plain

# Commands that change nothing of what the program does
_SILENT = frozenset(
    [
        *("", "[", "[[", "test", ":", "true", "false", "set", "shopt", "exit", "return", "wait"),
        *("echo", "printf", "date", "hostname", "nvidia-smi", "rocm-smi", "pwd", "free", "lscpu"),
        *("which", "type", "uname", "whoami", "id", "uptime", "df", "du", "ls", "env", "printenv"),
        *(
            "module",
            "ml",
            "cd",
            "pushd",
            "popd",
            "export",
            "declare",
            "local",
            "readonly",
            "unset",
        ),
        *("read", "let", "seq", "basename", "dirname", "realpath", "kill", "sleep", "squeue"),
        *("sstat", "sacct", "shift", "break", "continue"),
    ]
)
_MODULES = ("module", "ml")  # they are looked for by these names, behind no other
_SOFTWARE = "the program runs in an image, with the image's packages"
_PACKAGES = "list what it lacks in a requirements file: packages: requirements.txt"
_VARIABLES = "write the variables that the program needs under env:"
_OF_MODULES = re.compile(r"/init/\w*sh\b|lmod|module", re.IGNORECASE)
_FILES = "a job does nothing before its program"
_INSTEAD = {
    **dict.fromkeys(("conda", "mamba", "micromamba"), (_SOFTWARE, _PACKAGES)),
    **dict.fromkeys(("pip", "pip3", "uv"), (_SOFTWARE, _PACKAGES)),
    "mkdir": (_FILES, "make the folder before you submit"),
    **dict.fromkeys(
        ("cp", "rsync", "tar", "unzip", "mv", "wget", "curl", "git"),
        (_FILES, "do it before you submit: a job reads its data where they lie"),
    ),
    "ulimit": (_FILES, "a job has the node's own limits"),
    "trap": (
        "hpcdl's batch script handles SLURM's signals",
        "stop_signal: USR1 passes one on, and exit status 75 sends the job again",
    ),
    "scontrol": (
        "a job says nothing to SLURM",
        "exit status 75 of the program sends the job again",
    ),
    "eval": (_SOFTWARE, _PACKAGES),
    "sbatch": ("a job sends no other job", "hpcdl submit NEXT.yaml --after RUN"),
}
_TASK = "SLURM_ARRAY_TASK_ID"
ANY_INDEX = "$n"  # of a task, in the loop that sends all of them


def add_commands(draft: Draft, program: Program | None) -> None:
    """Note each command besides the program that does something."""
    main = program.command if program is not None else None
    functions = set(draft.script.functions)
    named = {(item.line, item.text) for item in [*draft.left, *draft.obstacles]}
    is_behind = False  # whether the program was before it
    for command in draft.script.commands:
        is_behind = is_behind or command is main
        if command is main or command.is_read or command.substituted or command.name in functions:
            continue
        if (command.line, hidden(_text(draft, command))) in named:
            continue
        words = _started_by(command)
        why = why_unread(command)
        if why:
            fix = "start the Python script itself here, without a shell around it"
            draft.leave(command.line, _text(draft, command), why, fix)
        elif words and words[0].text is None:
            draft.leave(command.line, _text(draft, command), "only the running script knows this")
        elif not _is_silent(command, words) or _files_of(command):
            _leave(draft, command, name_of(words), is_behind)


def _started_by(command: Command) -> tuple[Word, ...]:
    """The words of what a command starts behind time, exec, env and the like."""
    program = program_of(command)
    if program is None:
        return ()
    return program.words or command.words


def _is_silent(command: Command, words: tuple[Word, ...]) -> bool:
    """Whether a command changes nothing of what the program does."""
    name = name_of(words)
    texts = [word.text or "" for word in command.words]
    if texts[:1] == ["command"] and set(texts) & {"-v", "-V"}:
        return True  # it looks for a program
    if name == "scontrol":
        return "show" in texts
    return name in _SILENT and (name not in _MODULES or name == command.name)


def _leave(draft: Draft, command: Command, name: str, is_behind: bool) -> None:
    why, fix = _INSTEAD.get(name, (_FILES, "do it in the program, or before you submit"))
    if name in ("source", "."):
        why, fix = _instead_of_file(" ".join(word.raw for word in command.words[1:2]))
    if why == _FILES and is_behind:
        why, fix = "a job does nothing after its program", "do it in the program, or by hand"
    draft.leave(command.line, _text(draft, command), why, fix)


def _instead_of_file(raw: str) -> tuple[str, str]:
    """Why a file that the shell reads is not carried, and what to do."""
    if "conda" in raw or raw.strip("\"'").endswith("/activate"):
        return _SOFTWARE, _PACKAGES
    if _OF_MODULES.search(raw):
        return "a job loads its modules itself", ""
    return "what it sets is known to the running script alone", _VARIABLES


def _text(draft: Draft, command: Command) -> str:
    """The first line of a command as it is written, and the files that it writes."""
    text = unbroken(command.text or draft.script.line(command.line)).partition("\n")[0]
    return " ".join([text, *(file for file in _files_of(command) if file not in text)])


def _files_of(command: Command) -> list[str]:
    """Where a command's output goes, if that is a file: > x.log."""
    files = []
    for redirect in command.redirects:
        if ">" in redirect.operator and not redirect.operator.endswith(">&"):
            target = redirect.target.raw
            if not target.startswith("/dev/"):
                files.append(f"{redirect.operator} {target}")
    return files


def add_launchers(draft: Draft, program: Program, values: Values, shape: Shape) -> None:
    """Check that the program starts once on each node, as a job's does."""
    line = program.command.line
    started = 1
    if not program.launchers and shape.nodes > 1:
        why = "this starts on the first node alone, and a job starts its program on each"
        fix = f"write srun in front of it, or --nodes=1 in place of {draft.get('resources.nodes')}"
        draft.refuse(line, program.command.text, why, fix)
    for launcher in program.launchers:
        line = launcher.command.line
        if launcher.name == "srun":
            started = _started(launcher, values, shape, line)
            _require_every_node(draft, launcher, values, shape, launcher.command)
            add_srun_options(draft, launcher, values, shape, line)
        elif not launcher.name:
            why = "only the running script knows what this starts"
            draft.leave(line, launcher.command.text, why)
        else:
            why = "a job starts its program by itself, without MPI"
            fix = "let TF_CONFIG tell the program of its peers: MultiWorkerMirroredStrategy"
            draft.refuse(line, launcher.command.text, why, fix)
    require_one_task(draft, shape, started, line)


def _started(launcher: Launcher, values: Values, shape: Shape, line: int) -> int:
    """How many copies of the program srun starts on a node."""
    per_node = _number(launcher, "ntasks-per-node", values, line)
    if per_node is not None:
        return per_node
    every = _number(launcher, "ntasks", values, line)
    if every is None:
        return shape.tasks
    return -(-every // shape.nodes)


def _require_every_node(
    draft: Draft, launcher: Launcher, values: Values, shape: Shape, command: Command
) -> None:
    """Refuse a program that srun starts on some of the nodes only; list counts unknown here."""
    line, on = command.line, shape.nodes
    for name in ("nodes", "ntasks", "ntasks-per-node"):
        count = _number(launcher, name, values, line)
        if name in launcher.options and count is None and name != "nodes":
            text = option_text(name, launcher.options[name])
            draft.leave(line, text, "only the running script knows how many this starts")
        elif count is not None and name != "ntasks-per-node":
            on = min(on, count)
    if on < shape.nodes:
        why = f"this starts on {on} of {shape.nodes} nodes, and a job starts its program on each"
        fix = f"write --nodes={on} in the #SBATCH lines, or start it on all of them"
        draft.refuse(line, command.text, why, fix)


def _number(launcher: Launcher, name: str, values: Values, line: int) -> int | None:
    word = launcher.options.get(name)
    text = values.text(word, line)
    return int(text) if text and text.isdecimal() else None


def add_array(draft: Draft, index: str | None = None) -> str | None:
    """Make the job one task of an array; the index of that.

    Args:
        draft: the job file.
        index: which; by default the first one.
    """
    given = draft.script.directive("array")
    if given is None:
        return None
    first = index or first_index(given.value or "")
    if first is None:
        draft.refuse(given.line, given.text, "has no first index", "write --array=0-9")
        return None
    draft.put(f"env.{_TASK}", first, given.line)
    return first


def leave_array(draft: Draft, of_any: Located) -> None:
    """Say how to send the other tasks of an array.

    Args:
        draft: the job file of the first task.
        of_any: the document of the task of index ``$n``.
    """
    given = draft.script.directive("array")
    if given is None or first_index(given.value or "") is None:
        return
    sets = []
    for key, value in _differences(draft.document, of_any):
        whole = quote(f"{key}={plain(value)}").replace(ANY_INDEX, f"'{ANY_INDEX}'")
        sets += ["--set", f"{key}={value}" if value == ANY_INDEX else whole]
    submit = " ".join([hpcdl_command("submit", "JOB.yaml"), *sets])
    why = f"a job is one task, here that of index {first_index(given.value or '')}"
    if "%" in (given.value or ""):
        why += ", and nothing limits how many run at a time"
    loop = f"for n in {indices(given.value or '')}; do {submit}; done"
    draft.leave_option(given, why, f"send one for each: {loop}")


def _differences(first: Located, of_any: Located, key: str = "") -> Iterator[tuple[str, Any]]:
    """The keys that an index changes, with their values for any index."""
    if isinstance(first.value, dict) and isinstance(of_any.value, dict):
        for name, item in first.value.items():
            if name in of_any.value:
                yield from _differences(item, of_any.value[name], join(key, name))
    elif first.plain() != of_any.plain():
        yield key, of_any.plain()
