"""Which staged sets a program's home links to: all, or the named ones if there are very many."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from hpcdl.usercode.named_paths import names_in, set_names

MANY = 200  # entries of data_root; a link for each of more costs files and time in every run


def linked(data_root: Path, sources: Iterable[str]) -> tuple[list[str], bool]:
    """The names in data_root to link to.

    Args:
        data_root: where sets are staged.
        sources: the program and its modules, as Python text; read only if there are many sets.

    Returns:
        The names, sorted, and whether these are all.
    """
    try:
        with os.scandir(data_root) as entries:
            shown = (entry.name for entry in entries if not entry.name.startswith("."))
            names = list(islice(shown, MANY + 1))
    except OSError:
        return [], True
    if len(names) <= MANY:
        return sorted(names), True
    from hpcdl.staging.catalogue import FILES

    wanted = set(FILES)
    for source in sources:
        wanted |= set_names(names_in(source))
    return sorted(name for name in wanted if _is_there(data_root / name)), False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that cannot be a file name
        return False
