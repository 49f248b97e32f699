"""What is in a data set's files, from their headers and labels alone; remembered by path, size and time of change."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcdl.files import cache_folder, read_json, write_json
from hpcdl.trainer.idx import DIMENSIONS, find_idx, nothing_there

NAMES = ("x_train", "y_train", "x_test", "y_test")
_KEPT = 50
_CLASSES = 10_000  # with more of them, the rows of each are not counted here


def look(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz`` file or a folder of IDX files.

    Returns:
        by array: ``shape`` and ``kind`` and ``bytes_each`` of its numbers, for labels ``low``, ``high``, ``whole``
        and ``counts`` (rows of each class, where there are not too many); or ``wrong``, why it cannot be read. The
        array "" stands for the whole file.
    """
    files = [path]
    if path.is_dir():
        files = sorted([*path.iterdir(), *path.glob("*/*ubyte*")])
    stats = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    key = "|".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)
    store = cache_folder() / "arrays.json"
    known = read_json(store) or {}
    if key not in known:
        found = _idx(path) if path.is_dir() else _npz(path)
        known = dict([*known.items(), (key, found)][-_KEPT:])
        with suppress(OSError):
            write_json(store, known)
    seen: dict[str, Any] = known[key]
    return seen


def _npz(path: Path) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {}
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        return {"": {"wrong": f"is no .npz file ({error})"}}
    with archive:
        stored = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        for name in NAMES:
            if name not in stored:
                found[name] = {"wrong": f"is not in it; it has {', '.join(stored) or 'nothing'}"}
                continue
            try:
                with archive.open(f"{name}.npy") as member:
                    version = np.lib.format.read_magic(member)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(member)
                if dtype.hasobject:
                    found[name] = {"wrong": "holds Python objects; expected numbers"}
                    continue
                found[name] = {"shape": list(shape), "kind": dtype.kind, "bytes_each": dtype.itemsize}
                if name.startswith("y"):
                    with archive.open(f"{name}.npy") as member:
                        found[name].update(_labels(np.lib.format.read_array(member, allow_pickle=False)))
            except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                found[name] = {"wrong": f"cannot be read ({error}); the file is damaged"}
    return found


def _labels(array: Any) -> dict[str, Any]:
    import numpy as np

    if array.ndim == 2 and array.shape[1] > 1:
        array = array.argmax(axis=1)
    if not array.size or array.dtype.kind not in "iufb":
        return {}
    low, high = float(array.min()), float(array.max())
    whole = bool((array == array.round()).all()) if array.dtype.kind == "f" else True
    found: dict[str, Any] = {"low": low, "high": high, "whole": whole}
    if whole and low >= 0 and high < _CLASSES:
        found["counts"] = np.bincount(array.ravel().astype(int)).tolist()
    return found


def _idx(folder: Path) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {}
    files = find_idx(str(folder)) or nothing_there()
    for name, dimensions in DIMENSIONS.items():
        if name in files.wrong:
            found[name] = {"wrong": files.wrong[name]}
            continue
        path = Path(files.paths[name])
        try:
            with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
                head = stream.read(4 + 4 * dimensions)
                if head[:4] != bytes([0, 0, 8, dimensions]) or len(head) < 4 + 4 * dimensions:
                    raise ValueError(f"{path.name} begins with {head[:4].hex() or 'nothing'}, not as an IDX file")
                shape = list(struct.unpack(f">{dimensions}I", head[4:]))
                found[name] = {"shape": shape, "kind": "u", "bytes_each": 1}
                if dimensions == 1:
                    labels = stream.read()
                    if len(labels) != shape[0]:
                        raise ValueError(f"{path.name} holds {len(labels)} labels; its header says {shape[0]}")
                    found[name].update(_labels(np.frombuffer(labels, np.uint8)))
                elif (
                    path.suffix.lower() != ".gz" and os.path.getsize(path) != len(head) + shape[0] * shape[1] * shape[2]
                ):
                    raise ValueError(f"{path.name} is cut short")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            found[name] = {"wrong": f"cannot be read ({error})"}
    return found
