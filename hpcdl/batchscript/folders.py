"""In which folder a command of a script runs, and which file a word names, as far as is known."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl.batchscript.model import BatchScript, Program, Word
from hpcdl.batchscript.mounts import Mounts, folder_inside, pairs_of, words_of_mounts
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
    container, word = program.container, program.script
    if word is None:
        return None
    if container is None:
        return path_of(word, now, folder)
    shell = folder_at(script, program.command.went, folder)
    pairs: list[tuple[str | None, str]] = []
    for shown in words_of_mounts(container):
        text = _written(shown, shell, folder)
        if text is None:
            return None
        pairs += [(source and str((now or Path()) / source), to) for source, to in pairs_of(text)]
    mounts = Mounts(tuple(pairs))
    start: Path | None = now
    inside = folder_inside(container)
    if inside is not None:
        text = _written(inside, shell, folder)
        start = Path(text) if text is not None and os.path.isabs(text) else None
    path = path_of(word, start, folder)
    outside = mounts.outside(str(path)) if path is not None else None
    if outside is None or mounts.is_of_image(outside):
        return None
    return Path(outside)


def _written(word: Word, now: Path | None, folder: Path | None) -> str | None:
    """The text of a word that may have $PWD in it."""
    if word.text is not None:
        return word.text
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
