"""Reads a batch script: its #SBATCH lines by sbatch's rules, its commands with a parser of bash."""

from __future__ import annotations

from pathlib import Path

from hpcdl.batchscript.model import BatchScript


def is_batch_script(text: str) -> bool:
    """Whether a text is a shell script with #SBATCH lines, or most likely meant for sbatch."""
    raise NotImplementedError


def read_script(path: Path, shown: str | None = None) -> BatchScript:
    """Read a batch script; raises UserError for what cannot be read as one.

    Args:
        path: the script.
        shown: how the user calls it.
    """
    raise NotImplementedError
