"""What the findings of a script need to know of the site and the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Surroundings:
    """What is known of the site and the user; None is: not known."""

    slurm_version: tuple[int, int] | None = None  # (22, 5)
    home: Path | None = None
    folder: Path | None = None  # from where sbatch will be called
    login_folders: tuple[str, ...] = ()  # folders that only a login node has, where the site says
    gpu_vendor: str | None = None  # amd, where the site's GPUs are theirs
    sbatch_takes: bool = False  # sbatch --test-only has taken the script, on this site
