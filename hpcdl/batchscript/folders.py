"""In which folder a command of a script runs, and which file a word names, as far as is known."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl.batchscript.model import BatchScript, Command, Word

_SUBMIT = ("$SLURM_SUBMIT_DIR", "${SLURM_SUBMIT_DIR}")


def start_folder(script: BatchScript, folder: Path | None) -> Path | None:
    """Where a job begins: in --chdir, else where sbatch was called."""
    chdir = script.value("chdir")
    if chdir is None:
        return folder
    if os.path.isabs(chdir):
        return Path(chdir)
    return folder / chdir if folder is not None else None


def folder_at(script: BatchScript, command: Command, folder: Path | None) -> Path | None:
    """The folder in which a command runs; None where it cannot be known.

    Args:
        script: the script.
        command: one of its commands.
        folder: from where sbatch is called.
    """
    now = start_folder(script, folder)
    for other in script.commands:
        if other is command:
            return now
        if other.name in ("pushd", "popd"):
            now = None
        if other.name == "cd" and not other.substituted:
            now = _after_cd(other, now, folder)
    return now


def _after_cd(command: Command, now: Path | None, folder: Path | None) -> Path | None:
    """The folder after a cd."""
    if command.conditional or command.in_loop or command.function:
        return None
    words = [word for word in command.words[1:] if word.raw not in ("-P", "-L", "--")]
    if len(words) != 1:
        return None
    return path_of(words[0], now, folder)


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
    if os.path.isabs(text):
        return Path(text)
    return now / text if now is not None else None
