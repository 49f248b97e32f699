"""Reading a data set's files into raw arrays: Keras's .npz layout, and MNIST's IDX files."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

import numpy as np

from hpcdl.contract import ranges
from hpcdl.contract.errors import DataError
from hpcdl.contract.idx import DIMENSIONS, find_idx, nothing_there, open_idx

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("x_train", "y_train", "x_test", "y_test")
FETCHED = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
)  # sets that `hpcdl data stage` knows where to get
_IDX_UNSIGNED_BYTE = 8


def read_arrays(path: str) -> Tuple[Dict[str, NDArray[Any]], List[str]]:
    """Read the four arrays of a data set.

    Args:
        path: an ``.npz`` file, or a folder of IDX files.

    Returns:
        the arrays that could be read, by name, and what was wrong with the others.

    Raises:
        DataError: when there is nothing to read at all.
    """
    if os.path.isdir(path):
        return _read_idx_folder(path)
    if not os.path.exists(path):
        raise DataError(
            "{}: no such file or folder; expected an .npz file or a folder with IDX files".format(
                path
            ),
            _how_to_stage(path),
        )
    return _read_npz(path)


def _how_to_stage(path: str) -> str:
    """What puts a set there: known ones are fetched, others copied."""
    folder, file_name = os.path.split(path)
    name = "fashion_mnist" if file_name == "fashion-mnist" else file_name[: -len(".npz")]
    if folder != os.environ.get("HPCDL_DATA_ROOT") or not (
        file_name.endswith(".npz") or name in FETCHED
    ):
        return "correct data.path; a container sees only data_root and bound folders"
    if name in FETCHED:
        return "on a machine with internet: hpcdl data stage {} --data-root {}".format(name, folder)
    return "hpcdl data stage {} {}--data-root {}".format(
        name, "" if name == "digits" else "--from FILE ", folder
    )


def _read_npz(path: str) -> Tuple[Dict[str, NDArray[Any]], List[str]]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            "{}: cannot be read as .npz ({}; {} bytes); expected a zip archive with {}".format(
                path, error, os.path.getsize(path), ", ".join(NAMES)
            ),
            "it may be cut short or be another kind of file: stage the data set again",
        )
    arrays, problems = {}, []
    with archive:
        stored = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        for name in NAMES:
            if name not in stored:
                found = ", ".join(stored) or "nothing"
                problems.append(
                    "{}: is not in {}; found {}".format(name, os.path.basename(path), found)
                )
                continue
            try:
                with archive.open(name + ".npy") as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                    member.read()  # to the end: only there is the checksum compared
            except (
                Exception
            ) as error:  # a damaged member fails in many ways, and each one is about this array
                problems.append("{}: {}".format(name, _explain(error)))
    return arrays, problems


def left_out(path: str) -> List[str]:
    """A warning that names the arrays of an .npz file that nothing reads, such as a validation part."""
    if os.path.isdir(path):
        return []
    with zipfile.ZipFile(path) as archive:
        stored = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
    return ranges.unread([name for name in stored if name not in NAMES])


def _explain(error: Exception) -> str:
    if isinstance(error, ValueError) and "allow_pickle" in str(error):
        return "holds Python objects (dtype object); expected numbers"
    return "cannot be read ({}: {}); the file is damaged, expected a whole array".format(
        type(error).__name__, error
    )


def _read_idx_folder(folder: str) -> Tuple[Dict[str, NDArray[Any]], List[str]]:
    arrays, problems = {}, []
    files = find_idx(folder) or nothing_there(folder)
    for name in NAMES:
        if name in files.wrong:
            problems.append("{}: {} ({})".format(name, files.wrong[name], folder))
            continue
        path = files.paths[name]
        try:
            arrays[name] = _read_idx(path, DIMENSIONS[name])
        except (OSError, EOFError, ValueError, zlib.error) as error:
            problems.append("{} ({}): {}".format(name, os.path.basename(path), error))
    return arrays, problems


def _read_idx(path: str, dimensions: int) -> NDArray[Any]:
    with open_idx(path) as file:
        content = file.read()
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, _IDX_UNSIGNED_BYTE, dimensions])
    if len(content) < header or content[:4] != magic:
        given = content[:4].hex() or "nothing"
        raise ValueError(
            "starts with {}; expected {}, an IDX file of unsigned bytes".format(given, magic.hex())
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - header != expected:
        raise ValueError(
            "holds {} bytes after its header; expected {} for shape {}".format(
                len(content) - header, expected, shape
            )
        )
    return np.frombuffer(content, np.uint8, expected, header).reshape(shape)
