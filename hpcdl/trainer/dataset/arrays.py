"""Reads a data set's files into raw arrays: Keras's .npz layout, and MNIST's IDX files."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

import numpy as np

from hpcdl.contract import array_heads, ranges, staged_names
from hpcdl.contract.array_heads import NAMES
from hpcdl.contract.errors import DataError
from hpcdl.contract.idx import DIMENSIONS, find_idx, nothing_there, open_idx

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_arrays(path: str) -> Tuple[Dict[str, NDArray[Any]], List[str]]:
    """Read the four arrays of a data set.

    Args:
        path: an ``.npz`` file, or a folder of IDX files.

    Returns:
        the arrays that could be read, by name, and what is wrong with the others.

    Raises:
        DataError: there is nothing to read at all.
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
    """What puts a missing set there: a command, or the advice to correct the path."""
    folder, file_name = os.path.split(path)
    name = staged_names.name_of_set(file_name)
    if folder != os.environ.get("HPCDL_DATA_ROOT") or name is None:
        return "correct data.path; a container sees only data_root and bound folders"
    return staged_names.how_to_stage_set(name, folder)


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
        stored = array_heads.stored_arrays(archive)
        for name in NAMES:
            if name not in stored:
                problem = array_heads.not_stored(os.path.basename(path), stored)
                problems.append("{}: {}".format(name, problem))
                continue
            try:
                with archive.open(array_heads.member_of(name)) as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                    member.read()  # to the end: only there is the checksum compared
            # a damaged member fails in many ways, and each one is about this array
            except Exception as error:
                problems.append("{}: {}".format(name, array_heads.unreadable(error)))
    return arrays, problems


def left_out(path: str) -> List[str]:
    """A warning that names the arrays of an .npz file that nothing reads.

    An example is a validation part.
    """
    if os.path.isdir(path):
        return []
    with zipfile.ZipFile(path) as archive:
        stored = array_heads.stored_arrays(archive)
    return ranges.unread([name for name in stored if name not in NAMES])


def _read_idx_folder(folder: str) -> Tuple[Dict[str, NDArray[Any]], List[str]]:
    arrays, problems = {}, []
    files = find_idx(folder) or nothing_there(folder)
    for name in NAMES:
        if name in files.problems:
            problems.append("{}: {} ({})".format(name, files.problems[name], folder))
            continue
        path = files.paths[name]
        try:
            arrays[name] = _read_idx(path, DIMENSIONS[name])
        except (OSError, EOFError, ValueError, zlib.error) as error:
            problems.append("{} ({}): {}".format(name, os.path.basename(path), error))
    return arrays, problems


def _read_idx(path: str, dimensions: int) -> NDArray[Any]:
    with open_idx(path) as file:
        shape = array_heads.read_idx_shape(file, dimensions)
        values = file.read()
    problem = array_heads.wrong_idx_size(len(values), shape)
    if problem:
        raise ValueError(problem)
    return np.frombuffer(values, np.uint8).reshape(shape)
