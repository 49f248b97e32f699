"""Makes job files of batch scripts that somebody wrote for sbatch."""

from __future__ import annotations

from hpcdl.adopt.adopting import adopt
from hpcdl.adopt.model import Adopted, Left

__all__ = ["Adopted", "Left", "adopt"]
