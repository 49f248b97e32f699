"""Pyxis, with which srun itself starts a program in a container: its options, and paths inside.

Source: https://github.com/NVIDIA/pyxis/wiki/Usage
"""

from __future__ import annotations

import os

from hpcdl.batchscript.model import BatchScript, Program, Word
from hpcdl.batchscript.mounts import Mounts, pairs_of


def is_used(script: BatchScript, program: Program) -> bool:
    """Whether srun, or the job itself, is told a container for a program."""
    names = ("container-image", "container-name")
    return any(option(script, program, name) is not None for name in names)


def option(script: BatchScript, program: Program, name: str) -> Word | None:
    """The value of one of pyxis's options: that of srun, else of the script's directive."""
    for launcher in reversed(program.launchers):
        word = launcher.options.get(name)
        if word is not None:
            return word
    value = script.value(name)
    return None if value is None else Word(value, value)


def outside(path: str, workdir: str | None, mounts: str | None) -> str | None:
    """A path in the container as the machine has it; None where no mount is known to show it.

    Args:
        path: the path inside.
        workdir: what --container-workdir says.
        mounts: what --container-mounts says.
    """
    inside = path
    if not os.path.isabs(path):
        if workdir is None:
            return None
        inside = os.path.join(workdir, path)
    shown = Mounts(tuple(pairs_of(mounts or "")))
    return shown.outside(inside) if shown.shows(inside) else None
