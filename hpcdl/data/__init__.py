"""Data sets on the shared file system: where each lies, and how it gets there."""

from __future__ import annotations

_FOLDERS = {"fashion_mnist": "fashion-mnist"}  # as Keras's own cache lays them out


def staged_path(data_root: str, name: str) -> str:
    """Where the staged set called name lies: an ``.npz`` file, or a folder of IDX files."""
    return f"{data_root}/{_FOLDERS.get(name, name + '.npz')}"
