"""The file of one checkpoint: whole, or recognised as torn."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Tuple

import numpy as np

from hpcdl.contract.atomic import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Snapshot(NamedTuple):
    """A copy of everything that training changes, in the host's memory."""

    step: int
    text: bytes  # the state and what the arrays are, as JSON
    arrays: List[NDArray[Any]]


def write_snapshot(path: str, snapshot: Snapshot) -> None:
    """Write a copy to a file; it is on disk on return.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    _, text, arrays = snapshot
    entries: Dict[str, Any] = {}
    for place, array in enumerate(arrays):
        entries[_entry(place)] = array
    entries["about"] = np.frombuffer(text, np.uint8)
    entries["sha256"] = np.frombuffer(_digest(text, arrays), np.uint8)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with replacing(path, path + ".tmp") as file:
        np.savez(file, **entries)
    _sync_folder(os.path.dirname(path))


def read_snapshot(path: str) -> Tuple[Dict[str, Any], List[NDArray[Any]]]:
    """The state in a file with what its arrays are, and the arrays.

    Raises:
        Exception: of many kinds, if the file is torn or damaged.
    """
    with np.load(path, allow_pickle=False) as archive:
        text = archive["about"].tobytes()
        about = json.loads(text.decode("utf-8"))
        arrays = [archive[_entry(place)] for place in range(len(about["arrays"]))]
        if archive["sha256"].tobytes() != _digest(text, arrays):
            raise ValueError("its content does not have the hash stored with it")
    return about, arrays


def step_of(path: str) -> int:
    """The number of steps in a file's name."""
    return int(os.path.basename(path)[:-4])


def _entry(place: int) -> str:
    """The name of an array in the file."""
    return "v{:04d}".format(place)


def _digest(text: bytes, arrays: List[NDArray[Any]]) -> bytes:
    digest = hashlib.sha256(text)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


def _sync_folder(folder: str) -> None:
    """Make a rename in `folder` survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
