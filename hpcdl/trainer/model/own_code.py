"""Makes the user's files of one run importable for a while, where models of several runs meet."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from types import ModuleType
from typing import Dict, Iterator, List


@contextlib.contextmanager
def own_code(path: str) -> Iterator[None]:
    """While the block runs: imports find the user's files of one run, and no other run's.

    Two runs may have different files of one name. So modules of another run that have such a name
    are put aside, and those of this run are not left for the next.

    Args:
        path: the folders, as in PYTHONPATH; if it is empty, nothing changes.
    """
    folders = [folder for folder in path.split(os.pathsep) if folder]
    if not folders:
        yield
        return
    aside = _put_aside(_names_in(folders))
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)
        for name, module in list(sys.modules.items()):
            if _is_of(module, folders):
                del sys.modules[name]
        sys.modules.update(aside)


def _names_in(folders: List[str]) -> List[str]:
    """The modules and packages that can be imported from some folders."""
    names = []
    for folder in folders:
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if name.endswith(".py") or os.path.isdir(os.path.join(folder, name)):
                names.append(name.partition(".")[0])
    return names


def _put_aside(names: List[str]) -> Dict[str, ModuleType]:
    """Take modules of these names, and what is in such packages, out of those that are imported.

    Only modules of PYTHONPATH, where another run's files are: never Python's own, or TensorFlow.
    """
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    aside = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top != "hpcdl" and top in names and _is_of(module, folders):
            aside[name] = sys.modules.pop(name)
    return aside


def _is_of(module: object, folders: List[str]) -> bool:
    """Whether a module was imported from one of some folders."""
    file = str(getattr(module, "__file__", None) or "")
    return any(file.startswith(folder + os.sep) for folder in folders)
