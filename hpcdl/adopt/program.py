"""The one program that a job runs: its script, arguments, image and working directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcdl.adopt.arguments import add_args
from hpcdl.adopt.draft import Draft
from hpcdl.adopt.environment import add_binds
from hpcdl.adopt.folders import Folders
from hpcdl.adopt.shells import is_silent, why_unread
from hpcdl.adopt.values import Values
from hpcdl.adopt.wrappers import add_wrappers
from hpcdl.adopt.written import option_text, unbroken
from hpcdl.batchscript import pyxis
from hpcdl.batchscript.findings_continued import joined_words
from hpcdl.batchscript.findings_paths import torn_assignment, torn_image
from hpcdl.batchscript.inside import Inside
from hpcdl.batchscript.model import Command, Container, Program, Word
from hpcdl.batchscript.mounts import folder_inside
from hpcdl.batchscript.passed import CLEAN
from hpcdl.batchscript.programs import PYTHON_VALUES, program_of
from hpcdl.batchscript.pythoncode import LARGEST
from hpcdl.batchscript.whereabouts import is_whole
from hpcdl.image_address import not_a_file
from hpcdl.text import hpcdl_command

_OF_SLURM = re.compile(r"\bSLURM_[A-Z_]+\b")
_SCRIPTS = (".py", ".ipynb")
_AT_RUN_TIME = "only the running script knows this"
_FOLDER_AT_RUN_TIME = "the folder where this starts is known to the running script alone"
_ONE_PROGRAM = "a job runs one Python script"
# Variables of the container command that make it show GPUs
_OF_GPUS = frozenset(
    [
        *("APPTAINER_NV", "APPTAINER_NVCCLI", "APPTAINER_ROCM"),
        *("SINGULARITY_NV", "SINGULARITY_NVCCLI", "SINGULARITY_ROCM"),
    ]
)
# They start the Python processes of PyTorch, or of MPI
_STARTERS = ("torchrun", "accelerate", "deepspeed", "horovodrun")
_STARTING_MODULES = ("torch.distributed.", "accelerate.", "horovod.")
_OWN_PYTHON = ("python", "python3")
_PLAIN_PYTHON = frozenset("usEIBOq")  # options that change nothing in a container of hpcdl's
# Options of the container command that hpcdl gives itself, or that change nothing of its own
_IMPLIED = frozenset(
    ["nv", "nvccli", "cleanenv", "e", "no-home", "contain", "containall", "c", "C", "quiet", "q"]
)


def choose_program(draft: Draft) -> Program | None:
    """The script's first program of the user's, with the reason why it is not the only one.

    None, and the reason, where there is none.
    """
    programs = []
    for program in map(_mended, draft.script.programs):
        if program.script is not None:
            programs.append(program)
    if not programs:
        _refuse_without_script(draft)
        return None
    sure = list(filter(lambda program: not program.command.conditional, programs))
    first = (sure or programs)[0]
    last = programs[-1] if programs[-1] is not first else programs[0]
    text = first.command.text
    if len(programs) > 1:
        why = f"{_ONE_PROGRAM}, and line {last.command.line} starts another one"
        if first.words == last.words:
            why = f"{_ONE_PROGRAM} once, and line {last.command.line} starts it again"
        fix = "make a script of them, or a job file of each: a pipeline sends one after the other"
        draft.refuse(first.command.line, text, why, fix)
    elif _is_repeated(draft, first):
        again = hpcdl_command("submit", "JOB", "--set", "args=[...]")
        why = f"{_ONE_PROGRAM} once, and this line is in a loop or a function"
        fix = f"take the loop out, and send a job for each value: {again}, or hpcdl sweep"
        draft.refuse(first.command.line, text, why, fix)
    return first


def _mended(program: Program) -> Program:
    """A program behind an image whose path a blank tears: the rest of the path is not its name."""
    container = program.container
    whole = torn_image(container.image) if container is not None else None
    if whole is None or program.python is not None:
        return program
    words = [word for word in program.words if word.torn != whole]
    behind = program_of(replace(program.command, words=tuple(words)))
    if behind is None:
        return program
    return replace(
        program,
        words=behind.words,
        python=behind.python,
        python_options=behind.python_options,
        script=behind.script,
        module=behind.module,
        args=behind.args,
    )


def _is_repeated(draft: Draft, program: Program) -> bool:
    """Whether a program may start several times: in a loop, or in a function called twice."""
    command = program.command
    if command.function is None:
        return command.in_loop
    calls = draft.script.commands_named(command.function)
    return len(calls) != 1 or any(call.in_loop for call in calls)


def likeliest(programs: Sequence[Program]) -> Program | None:
    """The program that is likely meant: Python's, one behind srun or in a container, a file."""
    best, best_rank = None, 0
    for program in programs:
        rank = 0
        if "/" in program.command.words[0].raw or program.command.is_inside:
            rank = 1
        if (program.launchers or program.container is not None) and not is_silent(program):
            rank = 2
        if program.name in _STARTERS:
            rank = 3
        if program.python is not None:
            rank = 4
        if rank > best_rank:
            best, best_rank = program, rank
    return best


def _refuse_without_script(draft: Draft) -> None:
    """Say why there is no Python script to run."""
    program = likeliest(draft.script.programs)
    if program is None:
        line = draft.script.commands[-1].line if draft.script.commands else 1
        why = "the script starts no program that is known before it runs"
        text = draft.script.line(line).strip()
        draft.refuse(line, text, why, "start a Python script: python X.py")
        return
    why = why_unread(program.command) or "a job runs a Python script, and this is none"
    fix = "start the Python script itself here, or keep sbatch for this one"
    module = (program.module.text or "") if program.module is not None else ""
    if program.name in _STARTERS or module.startswith(_STARTING_MODULES):
        why = f"{module or program.name} starts processes itself, and a job one Python on each node"
        fix = "keep sbatch for this one"
    elif program.module is not None:
        module = program.module.text or "MODULE"
        why = "a job runs a file, and this is a module"
        fix = f'write a file: import runpy; runpy.run_module("{module}", run_name="__main__")'
    elif program.python is not None:
        why = "a job runs a file, and this program stands in the batch script"
        fix = "put it into a .py file beside the script, and start that"
        for redirect in program.command.redirects:
            if redirect.operator == "<":
                why = f"a job runs a file, and this one is read from {redirect.target.raw}"
                fix = f"start that: python {redirect.target.raw}"
    draft.refuse(program.command.line, program.command.text, why, fix)


def add_program(draft: Draft, program: Program, values: Values, folders: Folders) -> None:
    """Write the keys of a program."""
    clean = program.container is not None and program.container.has(*CLEAN)
    _add_container(draft, program, values, folders)
    _add_script(draft, program, values, folders)
    add_args(draft, program, values)
    for item in joined_words(draft.script, program.command):
        draft.note(f"line {item.line}: {item.cause}; the job has both words")
    add_wrappers(draft, program, values, folders, clean)
    _leave_python(draft, program)
    for command in (program.command, *program.starters):
        _leave_redirects(draft, command)


def _leave_python(draft: Draft, program: Program) -> None:
    """Note what Python starts with, which a job's does not."""
    line, python = program.command.line, program.python
    if python is not None and program.container is not None and python.text not in _OWN_PYTHON:
        fix = "a profile's images: {NAME: {path: ..., python: COMMAND}} names another one"
        draft.leave(line, python.raw, "a job starts the image's command python", fix)
    options = list(program.python_options)
    while options:
        option = options.pop(0)
        text = option.raw
        if option.text in PYTHON_VALUES and options:
            text = f"{text} {options.pop(0).raw}"
        elif set((option.text or "x").lstrip("-")) <= _PLAIN_PYTHON and text.count("O") < 2:
            continue
        draft.leave(line, text, "an option of Python's", "env has most of them: PYTHON...")


def _leave_redirects(draft: Draft, command: Command) -> None:
    """Note what the program, or a shell around it, reads and writes besides its files."""
    for redirect in command.redirects:
        text = f"{redirect.operator}{'' if redirect.operator.endswith('&') else ' '}"
        text += redirect.target.raw
        if redirect.operator.endswith(">&") and redirect.target.raw in ("1", "2"):
            continue  # the log has both
        if "<" in redirect.operator:
            fix = "let it open a file that an argument names"
            draft.leave(command.line, text, "a job's program has nothing to read here", fix)
        else:
            why, fix = "the output is the run's log", "hpcdl logs RUN shows it"
            draft.leave(command.line, text, why, fix)
    if command.heredoc is not None:
        sign = "<<"
        if "<<<" in command.text:
            sign = "<<<"
        fix = "let it open a file that an argument names"
        draft.leave(command.line, sign, "a job's program has nothing to read here", fix)
    if command.reads_pipe:
        why = "a job's program reads no pipe"
        draft.leave(command.line, command.text, why, "let it read a file that an argument names")
    if command.writes_pipe:
        why = "its output goes to the run's log, into no pipe"
        draft.leave(command.line, command.text, why)


def _add_script(draft: Draft, program: Program, values: Values, folders: Folders) -> None:
    """The script's file, and the folder where it starts."""
    line = program.command.line
    word = program.script or Word(None, "")
    name = values.path(word, line)
    folder = _working_folder(draft, program, values, folders)
    inside, shown = name, Inside(draft.script, program, values.read)
    if name is not None and program.container is not None:
        name = shown.outside(name)
    elif name is not None and pyxis.is_used(draft.script, program):
        name = _outside_pyxis(draft, program, values, name)
    path = None if name is None else folders.in_job(name, line)
    if path is None:
        why = f"{_AT_RUN_TIME}: {word.raw}"
        fix = "write the path itself, or as $NAME of your login shell"
        is_unplaced = inside is not None and not is_whole(inside) and shown.folder() is None
        if name is not None or is_unplaced:
            why = _FOLDER_AT_RUN_TIME
        elif inside is not None:
            option = "--bind" if program.container is not None else "--container-mounts"
            why = f"{inside} is a path in the container, and no {option} says which it is outside"
            fix = "a job runs a file that lies outside of the image: write that path"
        draft.refuse(line, program.command.text, why, fix)
        return
    if not path.endswith(_SCRIPTS):
        why = f"a job runs a .py file or a notebook, and this is {path}"
        draft.refuse(line, program.command.text, why, "give the file such a name")
        return
    draft.put("script", path, line)
    if program.container is None or not program.container.has(*CLEAN):
        _add_variables_of_job(draft, folders.whole(name or "", line), line)
    if folder is not None:
        draft.put("workdir", folder, line)


def _outside_pyxis(draft: Draft, program: Program, values: Values, path: str) -> str | None:
    """A path in a container of pyxis's as the machine has it; None where that is unknown.

    Without a folder of its own inside, it may be the same outside.
    """
    line, trail = program.command.line, pyxis.within(program)
    words = [pyxis.option(draft.script, program, name) for name in pyxis.PLACES]
    workdir, mounts = (None if word is None else values.path(word, line) for word in words)
    folders = [None] if trail is None else [workdir, *(values.path(word, line) for word in trail)]
    return pyxis.outside(path, folders, mounts) or (path if trail == () else None)


def _add_variables_of_job(draft: Draft, path: str | None, line: int) -> None:
    """Pass on SLURM's variables that the program's text names; a job's container has none else."""
    file = Path(path or "")
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return  # a pipe would never end
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    names = sorted(set(_OF_SLURM.findall(text)) - set(draft.get("env") or ()))
    if names:
        draft.put("cluster.pass_env", names, line)


def _working_folder(draft: Draft, program: Program, values: Values, folders: Folders) -> str | None:
    """The working directory as the job file names it: the container's own, or the shell's."""
    line = program.command.line
    if program.container is not None and (folder_inside(program.container) or program.inside != ()):
        inside = Inside(draft.script, program, values.read)
        folder = inside.folder()
        path = folder and inside.outside(".")
        if path:
            return folders.in_job(path.removesuffix("/."), line)
        own = folder_inside(program.container)
        text = f"--pwd {own.raw}" if own is not None else "cd"
        why = "a folder of the container's own" if folder else _FOLDER_AT_RUN_TIME
        draft.leave(program.container_command.line, text, why)
    is_in_pyxis = program.container is None and pyxis.is_used(draft.script, program)
    if is_in_pyxis and pyxis.within(program) != ():
        path = _outside_pyxis(draft, program, values, ".")
        if path is not None:
            return folders.from_target(path.removesuffix("/."))
        draft.leave(line, "cd", "a folder of the container's own")
        return None
    folder = folders.working(line)
    return None if folder is None else folders.from_target(folder)


def _leave_without_image(draft: Draft, program: Program, line: int) -> None:
    """Note that the script names no image of Apptainer's."""
    why = "the program runs without a container, and a job runs in an image"
    if pyxis.is_used(draft.script, program):
        why = "the program runs in pyxis's container, and a job in one of Apptainer's"
    fix = "the profile's image tensorflow is taken; container: says another one"
    draft.leave(line, unbroken(program.command.text).partition("\n")[0], why, fix)


def _add_container(draft: Draft, program: Program, values: Values, folders: Folders) -> None:
    """The image, and what the container is given."""
    container, line = program.container, program.container_command.line
    if container is None:
        _leave_without_image(draft, program, line)
        return
    add_image(draft, container, values, folders, line)
    if container.verb != "exec":
        why = "a job starts Python itself, and not what the image has of its own for this"
        draft.leave(line, f"{container.name} {container.verb}", why)
    for name, value in container.options:
        if name == "bind" and value is not None:
            add_binds(draft, values, folders, value, line)
        elif name == "env":
            continue  # with the other variables
        elif name == "rocm":
            draft.put("cluster.gpu_vendor", "amd", line)
        elif name not in _IMPLIED and name not in ("pwd", "cwd"):
            text = option_text(name, value)
            draft.leave(line, text, f"an option of {container.name}'s that a job has not")
    if draft.get("resources.gpus") and not _shows_gpus(draft, program):
        draft.note("the script's container has no --nv: it sees no GPU; the job's does")


def _shows_gpus(draft: Draft, program: Program) -> bool:
    """Whether the container is told to show GPUs, by an option or a variable of its own."""
    container = program.container
    if container is not None and container.has("nv", "nvccli", "rocm"):
        return True
    if _OF_GPUS.intersection(dict(program.command.env)):
        return True
    for assignment in draft.script.assignments:
        if assignment.exported and assignment.name in _OF_GPUS:
            return True
    return False


def add_image(
    draft: Draft, container: Container, values: Values, folders: Folders, line: int
) -> None:
    """The image's path, in a form that is not taken for a name."""
    word = container.image or Word(None, container.name)
    torn = torn_image(word)
    image = torn or values.path(word, line)
    fix = "the profile's image tensorflow is taken; container: /PATH.sif says another one"
    raw = word.raw
    if _leave_torn(draft, word, fix):
        return
    if not image:
        draft.leave(line, raw, "the image is not known before the script runs", fix)
        return
    if torn:
        why = "a blank tears this path, which has no quotes; the job takes it as one"
        draft.leave(line, raw, why)
    if not_a_file(image):
        advice = f"pull it once: {container.name} pull image.sif {image}"
        if image.startswith("instance:"):
            advice = "name the image of instance start"
        draft.leave(line, raw, "a job's image is a file", f"{advice}; {fix}")
        return
    path = folders.in_job(image, line)
    if path is None or image.startswith("-"):
        draft.leave(line, raw, "the folder of the image is not known", fix)
        return
    is_path = "/" in path or path.endswith(".sif") or is_whole(path)
    named = path if is_path else f"./{path}"
    draft.put("container", named, line)


def _leave_torn(draft: Draft, word: Word, fix: str) -> bool:
    """Say that a blank tears the path where it is assigned: it is then in front of a command."""
    used = {name for name, _ in draft.script.uses}
    for command in draft.script.commands:
        name, equals, path = (torn_assignment(command, used) or "").partition("=")
        is_torn = bool(equals and command.env)
        if is_torn and (f"${name}" in word.unknown or f"${{{name}}}" in word.unknown):
            why = f"a blank tears this path, and {name} is not set"
            meant = f"if it is {path}: container: says so"
            draft.leave(command.line, draft.script.line(command.line).strip(), why, meant)
            draft.note(f"container is not written: {fix}")
            return True
    return False
