"""In which folder a command of a script runs, and which file a word names, as far as is known."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl.batchscript import pyxis
from hpcdl.batchscript.inside import Inside
from hpcdl.batchscript.model import BatchScript, Program, Word
from hpcdl.batchscript.whereabouts import Trail

_SUBMIT = ("${SLURM_SUBMIT_DIR}", "$SLURM_SUBMIT_DIR")
_PWD = ("$(pwd)", "`pwd`", "${PWD}", "$PWD")


def start_folder(script: BatchScript, folder: Path | None) -> Path | None:
    """Where a job begins: in --chdir, else where sbatch was called."""
    chdir = script.value("chdir")
    if chdir is None:
        return folder
    if os.path.isabs(chdir):
        return Path(chdir)
    return folder / chdir if folder is not None else None


def folder_at(script: BatchScript, trail: Trail, folder: Path | None) -> Path | None:
    """The folder in which a command runs; None where it cannot be known.

    Args:
        script: the script.
        trail: how the command's or the program's folder is reached.
        folder: from where sbatch is called.
    """
    if trail is None:
        return None
    now = start_folder(script, folder)
    for word in trail:
        now = path_of(word, now, folder)
    return now


def script_path(script: BatchScript, program: Program, folder: Path | None) -> Path | None:
    """The file of a program's script on this machine; None where it cannot be known."""
    now = folder_at(script, program.went, folder)
    word = program.script
    if word is None:
        return None
    if program.container is None:
        if pyxis.is_used(script, program):
            return _path_in_pyxis(script, program, folder)
        return path_of(word, now, folder)

    def read(part: Word, _: int, went: Trail) -> str | None:
        return _written(part, folder_at(script, went, folder), folder)

    inside = Inside(script, program, read)
    text = read(word, program.command.line, None)
    if not text or text == "-":
        return None
    path = inside.outside(text, str(now) if now is not None else None)
    if path is None or not inside.is_sure or (now is None and not os.path.isabs(path)):
        return None
    return (now or Path()) / path


def _path_in_pyxis(script: BatchScript, program: Program, folder: Path | None) -> Path | None:
    """The file outside of a script in a container of pyxis's."""
    now, trail = folder_at(script, pyxis.around(program), folder), pyxis.within(program)

    def read(word: Word | None) -> str | None:
        is_own = word is None or word.shell is not None or pyxis.is_of_job(script)
        return None if word is None else _written(word, None if is_own else now, folder)

    text = read(program.script)
    if text is None:
        return None
    workdir, mounts = (read(pyxis.option(script, program, name)) for name in pyxis.PLACES)
    folders = [None] if trail is None else [workdir, *map(read, trail)]
    path = pyxis.outside(text, folders, mounts)
    if path is None or (now is None and not os.path.isabs(path)):
        return None
    return (now or Path()) / path


def _written(word: Word, now: Path | None, folder: Path | None) -> str | None:
    """The text of a word that may have $PWD in it."""
    if word.text is not None:
        return os.path.expanduser(word.text) if word.raw == "~" else word.text
    text = word.raw.replace('"', "")
    for names, value in ((_PWD, now), (_SUBMIT, folder)):
        for name in names:
            text = text.replace(name, str(value)) if value is not None else text
    return None if set("$`*?[{'\\") & set(text) else text


def path_of(word: Word, now: Path | None, folder: Path | None) -> Path | None:
    """The path that a word names, in a folder; None where it is not known.

    $SLURM_SUBMIT_DIR is known: it is from where sbatch is called.
    """
    text = word.text
    if text is None:
        bare = word.raw.strip('"')
        for variable in _SUBMIT:
            rest = bare.removeprefix(variable)
            if rest != bare and (not rest or rest.startswith("/")) and "$" not in rest:
                return folder / rest.lstrip("/") if folder is not None else None
        return None
    if not text or text == "-":
        return None
    text = os.path.expanduser(text) if word.raw == "~" else text
    if os.path.isabs(text):
        return Path(text)
    return now / text if now is not None else None
