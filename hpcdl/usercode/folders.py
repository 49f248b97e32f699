"""Walks and copies a folder of the user's, without what a job must not or need not carry."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract.image_walk import is_folder
from hpcdl.files import copy_file
from hpcdl.run.paths import holds_runs

_NOT_COPIED = ("__pycache__", ".git")
_OF_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what venv and conda put at the top of theirs


@dataclass(frozen=True)
class Entry:
    """What is in a folder.

    Args:
        path: where it is.
        name: its path from the folder.
        kind: ``file``; ``folder``; ``link``, which is copied as a link because it leads nowhere, or
            to a folder that it is in; ``left out``, a folder that is not copied, a pipe or a
            socket.
    """

    path: Path
    name: str
    kind: str


def walk(folder: Path, without: Path | None = None) -> Iterator[Entry]:
    """What is in a folder, links followed; a folder before what is in it.

    Left out are git's and Python's own folders, virtual environments and folders of runs.

    Args:
        folder: the folder.
        without: a folder that is left out, too.

    Raises:
        OSError: a folder cannot be read.
    """
    skipped = os.path.realpath(without) if without else None
    real = os.path.realpath(folder)
    waiting: list[tuple[str, tuple[str, ...]]] = [(str(folder), (real,))]
    while waiting:
        path, parents = waiting.pop()
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            name = os.path.relpath(entry.path, folder)
            if not is_folder(entry):
                yield Entry(Path(entry.path), name, _kind_of_file(entry))
                continue
            real = os.path.realpath(entry.path)
            if any(f"{parent}/".startswith(f"{real}/") for parent in parents):
                yield Entry(Path(entry.path), name, "link")
            elif entry.name in _NOT_COPIED or real == skipped or _is_left_out(Path(entry.path)):
                yield Entry(Path(entry.path), name, "left out")
            else:
                yield Entry(Path(entry.path), name, "folder")
                waiting.append((entry.path, (*parents, real)))


def _kind_of_file(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink() and not os.path.exists(entry.path):
        return "link"
    return "file" if entry.is_file() else "left out"


def _is_left_out(folder: Path) -> bool:
    return holds_runs(folder) or any((folder / name).exists() for name in _OF_ENVIRONMENTS)


def python_files(folder: Path) -> list[Path]:
    """The Python files of a folder that are copied with it, sorted.

    Raises:
        OSError: a folder cannot be read.
    """
    files = []
    for entry in walk(folder):
        if entry.kind == "file" and entry.path.suffix == ".py":
            files.append(entry.path)
    return sorted(files)


def copy_folder(source: Path, target: Path, without: Path | None = None) -> None:
    """Copy a folder, with the modes of its files; existing files stay.

    Args:
        source: the folder.
        target: where its content goes.
        without: a folder in it that is left out.

    Raises:
        OSError: something cannot be read or written.
    """
    _make_like(source, target)
    for entry in walk(source, without):
        copied = target / entry.name
        if copied.is_symlink():
            copied.unlink()
        if entry.kind == "folder":
            _make_like(entry.path, copied)
        elif entry.kind == "link":
            copied.symlink_to(os.readlink(entry.path))
        elif entry.kind == "file":
            copy_file(entry.path, copied)
            shutil.copymode(entry.path, copied)


def _make_like(source: Path, target: Path) -> None:
    """Make a folder with the mode of another, which may be closed to others, or to writing."""
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(stat.S_IMODE(source.stat().st_mode) | stat.S_IRWXU)
