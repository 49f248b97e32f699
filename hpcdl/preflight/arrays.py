"""Facts of a data set's arrays: shapes, labels, the range of a sample of the images.

Remembered by path, size and time of change.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl import cache
from hpcdl.contract import array_heads
from hpcdl.contract.array_heads import NAMES
from hpcdl.contract.idx import DIMENSIONS, find_idx, is_packed, nothing_there, open_idx

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CACHE = "arrays-4.json"  # its number changes with what is remembered
_MOST_REMEMBERED = 50
_SAMPLE_BYTES = 4 * 2**20  # of each array of images, from its beginning
_MOST_CLASSES = 10_000  # with more of them, the rows of each are not counted here

Facts = dict[str, Any]


def look(path: Path) -> dict[str, Facts]:
    """The facts of the arrays in an ``.npz`` file or a folder of IDX files.

    Returns:
        by array: ``shape``, and of its numbers the ``kind`` (numpy's letter), the ``dtype`` and
        ``bytes_each``; for labels ``low``, ``high``, ``whole``, ``one_hot`` (of several columns)
        and ``counts`` (rows of each class, unless there are very many); for images ``low``,
        ``high`` and ``finite`` of the first ``sampled`` rows; or ``wrong``, why it cannot be read.
        The array "" stands for the whole file, with the names that are ``unread``.

    Raises:
        OSError: the folder cannot be listed.
    """
    key = _fingerprint(path)
    remembered = cache.load(_CACHE)
    facts = remembered.get(key)
    if not isinstance(facts, dict):
        facts = _idx(path) if path.is_dir() else _npz(path)
        newest = list(remembered.items())[1 - _MOST_REMEMBERED :]
        cache.store(_CACHE, {**dict(newest), key: facts})
    return facts


def _fingerprint(path: Path) -> str:
    """A text that changes when a file of the set does."""
    files = [path]
    if path.is_dir():
        files = sorted([*path.iterdir(), *path.glob("*/*ubyte*")])
    parts = []
    for file in files:
        if file.is_file():
            stat = file.stat()
            parts.append(f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}")
    return "|".join(parts)


def _npz(path: Path) -> dict[str, Facts]:
    facts: dict[str, Facts] = {}
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        return {"": {"wrong": f"is not an .npz file ({error})"}}
    with archive:
        stored = array_heads.stored_arrays(archive)
        unread = [name for name in stored if name not in NAMES]
        if unread:
            facts[""] = {"unread": unread}
        for name in NAMES:
            if name not in stored:
                facts[name] = {"wrong": array_heads.not_stored(path.name, stored)}
                continue
            try:
                facts[name] = _npz_member(archive, name)
            except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                facts[name] = {"wrong": array_heads.unreadable(error)}
    return facts


def _npz_member(archive: zipfile.ZipFile, name: str) -> Facts:
    """The facts of one array: of its head, and of its labels or the first of its images.

    Raises:
        ValueError: it holds Python objects, or is damaged.
    """
    from numpy.lib import format as npy

    member_name = array_heads.member_of(name)
    with archive.open(member_name) as member:
        if npy.read_magic(member) == (1, 0):
            shape, by_columns, dtype = npy.read_array_header_1_0(member)
        else:
            shape, by_columns, dtype = npy.read_array_header_2_0(member)
        facts = _head(shape, dtype)
        if name.startswith("x") and not by_columns:
            facts |= _sample(member, shape, dtype)
    if name.startswith("y") or dtype.hasobject:  # which read_array refuses
        with archive.open(member_name) as member:
            facts |= _labels(npy.read_array(member, allow_pickle=False))
    return facts


def _head(shape: Sequence[int], dtype: np.dtype[Any]) -> Facts:
    return {
        "shape": list(shape),
        "kind": dtype.kind,
        "dtype": str(dtype),
        "bytes_each": dtype.itemsize,
    }


def _sample(stream: Any, shape: Sequence[int], dtype: np.dtype[Any]) -> Facts:
    """The range of the first rows of images.

    Args:
        stream: binary, at the first byte of the images.
        shape: of all images.
        dtype: of their values.
    """
    import numpy as np

    if dtype.hasobject or dtype.kind not in "iuf" or len(shape) < 3 or 0 in shape:
        return {}
    row_bytes = dtype.itemsize * math.prod(shape[1:])
    rows = min(shape[0], max(1, _SAMPLE_BYTES // row_bytes))
    content = stream.read(rows * row_bytes)
    rows = len(content) // row_bytes  # fewer if the file is cut short
    if not rows:
        return {}
    values = np.frombuffer(content[: rows * row_bytes], dtype)
    if not np.isfinite(values).all():
        return {"sampled": rows, "finite": False}
    low, high = float(values.min()), float(values.max())
    return {"sampled": rows, "finite": True, "low": low, "high": high}


def _labels(array: NDArray[Any]) -> Facts:
    import numpy as np

    facts: Facts = {}
    if not array.size or array.dtype.kind not in "iufb":
        return facts
    if array.ndim == 2 and array.shape[1] > 1:
        has_only_0_and_1 = bool(((array == 0) | (array == 1)).all())
        facts["one_hot"] = has_only_0_and_1 and bool((array.sum(axis=1) == 1).all())
        array = array.argmax(axis=1)
    facts["low"], facts["high"] = float(array.min()), float(array.max())
    facts["whole"] = True
    if array.dtype.kind == "f":
        facts["whole"] = bool(np.isfinite(array).all() and (array == np.floor(array)).all())
    if facts["whole"] and facts["low"] >= 0 and facts["high"] < _MOST_CLASSES:
        facts["counts"] = np.bincount(array.ravel().astype(int)).tolist()
    return facts


def _idx(folder: Path) -> dict[str, Facts]:
    facts: dict[str, Facts] = {}
    files = find_idx(str(folder)) or nothing_there(str(folder))
    for name, dimensions in DIMENSIONS.items():
        if name in files.problems:
            facts[name] = {"wrong": files.problems[name]}
            continue
        path = files.paths[name]
        try:
            facts[name] = _idx_file(path, dimensions)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            facts[name] = {"wrong": f"cannot be read ({os.path.basename(path)}: {error})"}
    return facts


def _idx_file(path: str, dimensions: int) -> Facts:
    """The facts of one IDX file. Of packed images only the first ones are unpacked.

    Raises:
        ValueError: it is damaged.
    """
    import numpy as np

    dtype = np.dtype(np.uint8)
    with open_idx(path) as stream:
        shape = array_heads.read_idx_shape(stream, dimensions)
        facts = _head(shape, dtype)
        if dimensions == 1:
            labels = stream.read()
            value_bytes = len(labels)
            facts |= _labels(np.frombuffer(labels, dtype))
        else:
            facts |= _sample(stream, shape, dtype)
            value_bytes = math.prod(shape)
            if not is_packed(path):
                value_bytes = os.path.getsize(path) - array_heads.idx_head_bytes(dimensions)
    problem = array_heads.wrong_idx_size(value_bytes, shape)
    if problem:
        raise ValueError(problem)
    return facts
