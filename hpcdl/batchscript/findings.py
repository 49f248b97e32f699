"""All that is found wrong in a batch script, by line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcdl.batchscript.model import BatchScript, ScriptFinding


@dataclass(frozen=True)
class Surroundings:
    """What a script's findings need to know of the site and the user; None is: not known."""

    slurm_version: tuple[int, int] | None = None  # (22, 5)
    home: Path | None = None
    folder: Path | None = None  # from where sbatch will be called
    login_folders: tuple[str, ...] = ()  # folders that only a login node has, where the site says


def findings(script: BatchScript, around: Surroundings) -> list[ScriptFinding]:
    """What is wrong with a script, by line; none for a good one."""
    raise NotImplementedError
