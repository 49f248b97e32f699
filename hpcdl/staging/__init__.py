"""Data sets and weights on the shared file system: where each lies, and what stages it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from hpcdl.contract import staged_names
from hpcdl.contract.staged_names import MODELS, NPZ, WEIGHTS

__all__ = ["MODELS", "WEIGHTS", "how_to_stage", "item_name", "set_path", "staged_path"]


def staged_path(data_root: str, name: str) -> str:
    """Where a set is staged: an ``.npz`` file, or a folder of IDX files."""
    return f"{data_root}/{staged_names.file_of_set(name)}"


def set_path(data_root: str, name: str) -> str:
    """Where a job finds a set: where it is staged, or else a folder of images or a packed set."""
    path, folder = Path(staged_path(data_root, name)), Path(data_root, name)
    if folder.is_dir() and not path.exists():
        return str(folder)
    return str(path)


def item_name(data_root: Path, path: Path) -> str:
    """What ``hpcdl data`` calls a file or folder under data_root."""
    if path.parent == data_root / MODELS:
        return f"{WEIGHTS}{path.name}"
    return staged_names.name_of_set(path.name) or path.name


def how_to_stage(name: str, data_root: str) -> str:
    """What to do about a missing set or weights: the command, and where or by whom it is run.

    Args:
        name: of the set, or of weights: ``weights/VGG16``, or ``weights/VGG16 --include-top``.
        data_root: where it is missing.
    """
    root = shlex.quote(data_root)
    if name in staged_names.EMBEDDED:
        how = staged_names.stage_command(name, root)
    elif name in staged_names.FETCHED or name.startswith(WEIGHTS):
        command = staged_names.on_the_internet(staged_names.stage_command(name, root))
        how = f"{command} (or elsewhere with --data-root DIR, then copy DIR to {root})"
    else:
        set_name = shlex.quote(name)
        command = staged_names.stage_command(set_name, root, f"FILE{NPZ}")
        packed = f"hpcdl data pack FOLDER --name {set_name} --data-root {root}"
        how = f"{command}, or of images: {packed}"
    not_writable = _not_writable(Path(data_root))
    if not not_writable:
        return how
    own = "use a folder of yours for --data-root, and --set cluster.data_root=DIR for the job"
    return f"you cannot write in {not_writable}: ask them to stage it ({how}); or {own}"


def _not_writable(folder: Path) -> str:
    """The folder or the nearest one above it that exists, and its owner, if it is read-only.

    Returns:
        empty if this user can write there.
    """
    whole = folder.absolute()
    nearest = next(path for path in (whole, *whole.parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return ""
    try:
        owner = nearest.owner()
    except (KeyError, OSError):
        owner = "somebody else"
    return f"{nearest}, which is {owner}'s"
