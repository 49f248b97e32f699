"""Data sets and weights on the shared file system: where each lies, what it is called, and what stages it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

MODELS = "models"  # the folder of weights under data_root, as in Keras's cache
WEIGHTS = "weights/"  # how the names of weights begin; a set's name has no slash
PACK = "pack.json"  # what the folder of a packed set has, and no other
_FOLDERS = {"fashion_mnist": "fashion-mnist"}  # as Keras's own cache lays them out


def staged_path(data_root: str, name: str) -> str:
    """Where the set called name is staged: an ``.npz`` file, or a folder of IDX files."""
    return f"{data_root}/{_FOLDERS.get(name, name + '.npz')}"


def set_path(data_root: str, name: str) -> str:
    """Where a job finds the set called name: where it is staged, or else a folder of images or a packed set."""
    path, folder = Path(staged_path(data_root, name)), Path(data_root, name)
    return str(folder if folder.is_dir() and not path.exists() else path)


def item_name(data_root: Path, path: Path) -> str:
    """What a file or folder under data_root is called by ``hpcdl data``."""
    if path.parent == data_root / MODELS:
        return f"{WEIGHTS}{path.name}"
    folders = {folder: name for name, folder in _FOLDERS.items()}
    return folders.get(path.name, path.name.removesuffix(".npz"))


def how_to_stage(name: str, data_root: str) -> str:
    """What to do where a set or weights are missing: the command, and where or by whom it is given.

    Args:
        name: of the set, or of weights: ``weights/VGG16``, or with the option ``weights/VGG16 --include-top``.
        data_root: where it is missing.
    """
    from hpcdl.staging.catalogue import EMBEDDED, SETS

    root = shlex.quote(data_root)
    if name in EMBEDDED:
        how = f"hpcdl data stage {name} --data-root {root}"
    elif name in SETS or name.startswith(WEIGHTS):
        there = f"elsewhere with --data-root DIR, then copy DIR to {root}"
        how = f"on a machine with internet: hpcdl data stage {name} --data-root {root} (or {there})"
    else:
        packed = f"hpcdl data pack FOLDER --name {shlex.quote(name)} --data-root {root}"
        how = f"hpcdl data stage {shlex.quote(name)} --from FILE.npz --data-root {root}, or of images: {packed}"
    closed = _not_writable(Path(data_root))
    if not closed:
        return how
    own = "use a folder of your own for --data-root, and --set cluster.data_root=DIR for the job"
    return f"you cannot write in {closed}: ask them to stage it ({how}); or {own}"


def _not_writable(folder: Path) -> str:
    """The folder, or the nearest one above it, and whose it is, if this user cannot write there; else empty."""
    whole = folder.absolute()
    nearest = next(path for path in (whole, *whole.parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return ""
    try:
        owner = nearest.owner()
    except (KeyError, OSError):
        owner = "somebody else"
    return f"{nearest}, which is {owner}'s"
