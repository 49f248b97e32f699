"""Pyxis, with which srun itself starts a program in a container: its options, and paths inside.

Source: https://github.com/NVIDIA/pyxis/wiki/Usage
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hpcdl.batchscript.model import IMAGES_OF_PYXIS, BatchScript, Program, Word
from hpcdl.batchscript.mounts import Mounts, pairs_of
from hpcdl.batchscript.whereabouts import Trail, is_whole

PLACES = ("container-workdir", "container-mounts")


def is_used(script: BatchScript, program: Program) -> bool:
    """Whether srun, or the job itself, is told a container for a program."""
    return any(option(script, program, name) is not None for name in IMAGES_OF_PYXIS)


def is_of_job(script: BatchScript) -> bool:
    """Whether the whole script runs in a container: an #SBATCH line says so."""
    return any(script.directive(name) is not None for name in IMAGES_OF_PYXIS)


def around(program: Program) -> Trail:
    """The folders of cd before a program's container; of a job's own there are none."""
    return program.went if program.is_inside else ()


def within(program: Program) -> Trail:
    """The folders of cd within a program's container."""
    return program.inside if program.is_inside else program.went


def option(script: BatchScript, program: Program, name: str) -> Word | None:
    """The value of one of pyxis's options: that of srun, else of the script's directive."""
    for launcher in reversed(program.launchers):
        word = launcher.options.get(name)
        if word is not None:
            return word
    value = script.value(name)
    return None if value is None else Word(value, value)


def outside(path: str, folders: Sequence[str | None], mounts: str | None) -> str | None:
    """A path in the container as the machine has it; None where no mount is known to show it.

    Args:
        path: the path inside.
        folders: where the program starts, one after the other; None for one that is not known.
        mounts: what --container-mounts says.
    """
    inside: str | None = None
    for part in (*folders, path):
        if part is None or is_whole(part):
            inside = part
        elif inside is not None:
            inside = os.path.join(inside, part)
    if inside is None:
        return None
    shown = Mounts(tuple(pairs_of(mounts or "")))
    is_shown = shown.shows(os.path.join(inside, "x"))  # a folder shows what is in it
    return shown.outside(inside) if is_shown else None
