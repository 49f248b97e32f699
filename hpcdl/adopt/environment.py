"""What the script sets up before its program: modules and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import filterfalse

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.folders import Folders
from hpcdl.adopt.secrets import is_secret
from hpcdl.adopt.values import Values
from hpcdl.adopt.written import pair_of
from hpcdl.batchscript.model import Assignment, Command, Program, Word
from hpcdl.batchscript.mounts import is_bind

_FOR_IMAGES = re.compile(r"(?:SINGULARITYENV|APPTAINERENV)_(\w+)")
_OF_RUNTIMES = re.compile(r"(?:SINGULARITY|APPTAINER)_\w+")
_UNLOADED = re.compile(r"-\w[\w.+/-]+")  # of Lmod's: ml -gcc
_MODULE = re.compile(r"\w[\w.+/@:=-]*")
_OWN = {
    "CUDA_VISIBLE_DEVICES": "hpcdl sets it to the GPUs that SLURM gives",
    "ROCR_VISIBLE_DEVICES": "hpcdl sets it to the GPUs that SLURM gives",
    "TF_CONFIG": "hpcdl sets it on each node of a job on several nodes",
    "PATH": "the program runs in the image, which has its own",
    "LD_LIBRARY_PATH": "the program runs in the image, which has its own",
    "HOME": "hpcdl gives a run its own home",
    "TMPDIR": "hpcdl gives a run its own /tmp",
}
_IN_IMAGES = "the image has what its programs need, or packages: brings it"
_AT_RUN_TIME = "only the running script knows its value"


def add_modules(draft: Draft, program: Program) -> None:
    """Write the modules that the script loads to ``cluster.modules``."""
    is_behind = False  # whether the program has started
    start = draft.script.start_of(program.command)
    for command in draft.script.commands:
        is_behind = is_behind or command is start
        if command.name not in ("module", "ml"):
            continue
        texts = _known_texts(command)
        if command.is_inside:
            _leave(draft, command, "it loads a module in the container", _IN_IMAGES)
            continue
        if texts is None or command.in_loop or command.conditional:
            _leave(draft, command, _AT_RUN_TIME, "cluster: {modules: [NAME, ...]}")
            continue
        verb, names = _verb_and_names(command.name, texts)
        is_load = verb in ("load", "add")
        if is_load and not all(_MODULE.fullmatch(name) for name in names):
            _leave(draft, command, "is no module's name", "cluster: {modules: [NAME, ...]}")
        elif is_load and names:
            draft.add("cluster.modules", names, command.line)
        elif verb == "purge" and not is_behind:
            draft.drop("cluster.modules")
        elif verb not in ("purge", "list", "avail", "spider"):
            why = "a job loads modules after a purge, and does nothing else with them"
            _leave(draft, command, why, "put it into the profile's module_init file")


def _known_texts(command: Command) -> list[str] | None:
    """The arguments of a command; None where one is not known."""
    texts = []
    for word in command.words[1:]:
        if word.text is None:
            return None
        texts.append(word.text)
    return texts


def _verb_and_names(command: str, words: list[str]) -> tuple[str, list[str]]:
    plain = [word for word in words if not word.startswith("-")]
    if command == "module":
        return (plain[0], plain[1:]) if plain else ("list", [])
    if any(map(_UNLOADED.fullmatch, words)):
        return ("unload", words)
    if not plain:
        return ("list", [])
    if plain[0] in ("load", "add", "purge", "list", "use", "unload", "swap", "avail", "spider"):
        return plain[0], plain[1:]
    return "load", plain


def add_variables(
    draft: Draft, program: Program, values: Values, folders: Folders, clean: bool
) -> None:
    """Write the variables that the program gets.

    Args:
        draft: the job file.
        program: the program, which sees what is exported before it.
        values: of the script's words.
        folders: where paths start.
        clean: whether the container gets only the variables that are meant for it.
    """
    exported = [item for item in draft.script.set_before(program.command) if item.exported]
    for name, word in program.command.env:
        exported.append(Assignment(name, word, program.command.line, exported=True))
    within = list(filter(_is_inside, exported))
    around = list(filterfalse(_is_inside, exported))
    draft.of_image = _names_of_image(around, program)
    for item in around:
        add_exported(draft, values, folders, item, clean)
    for name, word in _of_options(program):
        add_variable(draft, values, name, word, program.container_command.line)
    for item in within:
        add_exported(draft, values, folders, item, clean)


def _is_inside(assignment: Assignment) -> bool:
    shell = assignment.word.shell
    return shell is not None and shell.is_inside


def _names_of_image(around: list[Assignment], program: Program) -> frozenset[str]:
    """What SINGULARITYENV_... and --env set: in the container it hides the shell's own."""
    if program.container is None:
        return frozenset()
    names = [name for name, _ in _of_options(program)]
    for item in around:
        match = _FOR_IMAGES.fullmatch(item.name)
        if match is not None and not item.conditional:
            names.append(match[1])
    return frozenset(names)


def _of_options(program: Program) -> Iterator[tuple[str, Word]]:
    """The variables of the container command's --env."""
    if program.container is not None:
        for value in program.container.values("env"):
            for pair in _pairs(value):
                text = None if value.text is None else pair
                yield pair_of(replace(value, text=text, raw=pair))


def _pairs(value: Word) -> list[str]:
    """The parts of ``A=1,B=2``, without the quotes around all of them; of ``A=1,2``, the one."""
    text = value.raw if value.text is None else value.text
    if value.text is None and text[:1] in "'\"" and text[-1:] == text[:1]:
        text = text[1:-1]
    return text.split(",") if text.count("=") > 1 else [text]


def add_exported(
    draft: Draft, values: Values, folders: Folders, assignment: Assignment, clean: bool
) -> None:
    """Write one variable that programs see.

    Args:
        draft: the job file.
        values: of the script's words.
        folders: where paths start.
        assignment: the variable, and its value.
        clean: whether the container gets only the variables that are meant for it.
    """
    name, line = assignment.name, assignment.line
    inside = _FOR_IMAGES.fullmatch(name)
    if assignment.conditional:
        _leave_variable(draft, assignment, _AT_RUN_TIME)
    elif _is_inside(assignment):
        add_variable(draft, values, name, assignment.word, line)
    elif inside and inside[1] in ("PREPEND_PATH", "APPEND_PATH"):
        fix = "name the program with its folder, or build an image with this PATH"
        _leave_variable(draft, assignment, "it changes PATH in the container", fix)
    elif inside:
        add_variable(draft, values, inside[1], assignment.word, line)
    elif is_bind(name):
        add_binds(draft, values, folders, assignment.word, line)
    elif _OF_RUNTIMES.fullmatch(name):
        _leave_variable(draft, assignment, "it is for the container command, which hpcdl calls")
    elif clean:
        why = "the container is started with a clean environment, and does not see it"
        _leave_variable(draft, assignment, why)
    elif name not in draft.of_image:
        add_variable(draft, values, name, assignment.word, line)


def add_variable(draft: Draft, values: Values, name: str, word: Word, line: int) -> None:
    """Write one variable of the program."""
    if name in _OWN or name.startswith("HPCDL_"):
        draft.leave(line, f"{name}={word.raw}", _OWN.get(name, "hpcdl sets it"))
    elif name == "PYTHONPATH":
        _add_pythonpath(draft, values, word, line)
    elif is_secret(name, values.text(word, line)):
        why = "it looks like a secret, and a job file is copied into the folder of each run"
        fix = f"env: {{{name}_FILE: PATH}}, for a program that reads it from a file of yours"
        draft.leave(line, f"{name}=(hidden)", why, fix)
    elif (text := values.text(word, line)) is None:
        draft.drop(f"env.{name}")  # the value that it had before
        draft.leave(line, f"{name}={word.raw}", _AT_RUN_TIME, f"env: {{{name}: VALUE}}")
    else:
        draft.put(f"env.{name}", text, line)


def _add_pythonpath(draft: Draft, values: Values, word: Word, line: int) -> None:
    """Write the folders of PYTHONPATH; what it was before is not known."""
    raw = re.sub(r":?\$(?:PYTHONPATH|\{PYTHONPATH[^}]*\}):?", "", word.raw)
    path = values.path(replace(word, text=None, raw=raw), line)
    if path is None:
        why = "only the running script knows these folders"
        draft.leave(line, f"PYTHONPATH={word.raw}", why, "pythonpath: [FOLDER, ...]")
        return
    folders = list(filter(None, path.split(":")))
    before = (draft.get("pythonpath") or []) if raw != word.raw else []
    before = [folder for folder in before if folder not in folders]
    is_behind = re.match(r"[\"']?\$\{?PYTHONPATH", word.raw) is not None
    draft.put("pythonpath", [*before, *folders] if is_behind else [*folders, *before], line)


def add_binds(draft: Draft, values: Values, folders: Folders, word: Word, line: int) -> None:
    """Write the folders that a container is given: ``source[:target[:options]]``, with commas."""
    text = values.path(word, line)
    if text is None:
        fix = "cluster: {binds: [FOLDER, ...]}; hpcdl shows what the program names by itself"
        draft.leave(line, word.raw, "only the running script knows these folders", fix)
        return
    binds = []
    for bind in filter(None, text.split(",")):
        source, colon, rest = bind.partition(":")
        whole = folders.whole(source, line)
        if whole is None or "$" in whole:
            draft.leave(line, bind, "a bind is a whole path", "cluster: {binds: [/FOLDER]}")
        elif colon or whole != folders.whole(".", line):  # which is always there
            binds.append(f"{whole}{colon}{rest}")
    if binds:
        draft.add("cluster.binds", binds, line)


def _leave(draft: Draft, command: Command, why: str, fix: str) -> None:
    draft.leave(command.line, command.text.strip(), why, fix)


def _leave_variable(draft: Draft, assignment: Assignment, why: str, fix: str = "") -> None:
    draft.leave(assignment.line, f"{assignment.name}={assignment.word.raw}", why, fix)
