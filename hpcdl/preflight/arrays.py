"""What is in a data set's files: headers, labels, a sample of the images.

Remembered by path, size and time of change.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcdl import cache
from hpcdl.contract.idx import DIMENSIONS, find_idx, is_packed, nothing_there, open_idx

NAMES = ("x_train", "y_train", "x_test", "y_test")
_CACHE = "arrays-3.json"  # the first had no samples, the second went by the ending .gz
_KEPT = 50
_SAMPLE_BYTES = 4 * 2**20  # of each array of images, from its beginning
_CLASSES = 10_000  # with more of them, the rows of each are not counted here


def look(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz`` file or a folder of IDX files.

    Returns:
        by array: ``shape`` and ``kind`` and ``bytes_each`` of its numbers, for labels ``low``, ``high``, ``whole``
        and ``counts`` (rows of each class, where there are not too many); for images ``low``, ``high`` and
        ``finite`` of the first ``sampled`` rows; or ``wrong``, why it cannot be read. The array "" stands for the
        whole file, with the names that are ``unread``.
    """
    files = [path]
    if path.is_dir():
        files = sorted([*path.iterdir(), *path.glob("*/*ubyte*")])
    stats = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    key = "|".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)
    known = cache.load(_CACHE)
    if not isinstance(known.get(key), dict):
        found = _idx(path) if path.is_dir() else _npz(path)
        known = dict([*known.items(), (key, found)][-_KEPT:])
        cache.store(_CACHE, known)
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
        unread = [name for name in stored if name not in NAMES]
        if unread:
            found[""] = {"unread": unread}
        for name in NAMES:
            if name not in stored:
                found[name] = {"wrong": f"is not in it; it has {', '.join(stored) or 'nothing'}"}
                continue
            sample: dict[str, Any] = {}
            try:
                with archive.open(f"{name}.npy") as member:
                    version = np.lib.format.read_magic(member)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, by_columns, dtype = read(member)
                    if name.startswith("x") and not by_columns:
                        sample = _sample(member, shape, dtype)
                if dtype.hasobject:
                    found[name] = {"wrong": "holds Python objects; expected numbers"}
                    continue
                found[name] = {
                    "shape": list(shape),
                    "kind": dtype.kind,
                    "bytes_each": dtype.itemsize,
                    **sample,
                }
                if name.startswith("y"):
                    with archive.open(f"{name}.npy") as member:
                        found[name].update(
                            _labels(np.lib.format.read_array(member, allow_pickle=False))
                        )
            except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                found[name] = {"wrong": f"cannot be read ({error}); the file is damaged"}
    return found


def _sample(stream: Any, shape: Sequence[int], dtype: Any) -> dict[str, Any]:
    """The range of the first rows of images, from a binary stream that stands at their first byte."""
    import numpy as np

    if dtype.hasobject or dtype.kind not in "iuf" or len(shape) < 3 or 0 in shape:
        return {}
    row_bytes = dtype.itemsize * math.prod(shape[1:])
    rows = min(shape[0], max(1, _SAMPLE_BYTES // row_bytes))
    content = stream.read(rows * row_bytes)
    rows = len(content) // row_bytes  # fewer where the file is cut short
    if not rows:
        return {}
    values = np.frombuffer(content[: rows * row_bytes], dtype)
    if not np.isfinite(values).all():
        return {"sampled": rows, "finite": False}
    return {
        "sampled": rows,
        "finite": True,
        "low": float(values.min()),
        "high": float(values.max()),
    }


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
    files = find_idx(str(folder)) or nothing_there(str(folder))
    for name, dimensions in DIMENSIONS.items():
        if name in files.wrong:
            found[name] = {"wrong": files.wrong[name]}
            continue
        path = Path(files.paths[name])
        try:
            with open_idx(str(path)) as stream:
                head = stream.read(4 + 4 * dimensions)
                if head[:4] != bytes([0, 0, 8, dimensions]) or len(head) < 4 + 4 * dimensions:
                    raise ValueError(
                        f"{path.name} begins with {head[:4].hex() or 'nothing'}, not as an IDX file"
                    )
                shape = list(struct.unpack(f">{dimensions}I", head[4:]))
                found[name] = {"shape": shape, "kind": "u", "bytes_each": 1}
                if dimensions == 1:
                    labels = stream.read()
                    if len(labels) != shape[0]:
                        raise ValueError(
                            f"{path.name} holds {len(labels)} labels; its header says {shape[0]}"
                        )
                    found[name].update(_labels(np.frombuffer(labels, np.uint8)))
                else:
                    found[name].update(_sample(stream, shape, np.dtype(np.uint8)))
                if (
                    dimensions == 3
                    and not is_packed(str(path))
                    and os.path.getsize(path) != len(head) + shape[0] * shape[1] * shape[2]
                ):
                    raise ValueError(f"{path.name} is cut short")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            found[name] = {"wrong": f"cannot be read ({error})"}
    return found
