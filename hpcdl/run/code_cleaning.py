"""Frozen copies of hpcdl's own code that no run uses any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hpcdl.files import read_json
from hpcdl.run.paths import code_folders

_YOUNG_S = 3600.0  # a submission may be about to use it


def unused_code(roots: Sequence[Path]) -> list[Path]:
    """The code folders that no run or sweep next to them names, and that are an hour old.

    A run that was moved elsewhere does not count.

    Args:
        roots: folders of runs.
    """
    unused = []
    for root in roots:
        folders = code_folders(root)
        names = _names_in_use(root) if folders else set()
        for folder in folders:
            if folder.name not in names and time.time() - folder.stat().st_mtime > _YOUNG_S:
                unused.append(folder)
    return unused


def _names_in_use(root: Path) -> set[str]:
    """The code that each run and sweep names, also one that is just being made."""
    names = set()
    for pattern in ("*/manifest.json", "*/*/manifest.json", "*/.*/manifest.json"):
        for manifest in root.glob(pattern):
            code = (read_json(manifest) or {}).get("code")
            if isinstance(code, dict):
                names.add(str(code.get("sha256")))
                names.add(Path(str(code.get("folder"))).name)
    return names
