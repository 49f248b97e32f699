"""Finds MNIST's IDX files in a folder: which file holds which array, by the files' names."""

from __future__ import annotations

import gzip
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from hpcdl.contract.image_walk import inside, listed

DIMENSIONS = {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1}
STANDARD = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
# train-images-idx3-ubyte, train-images.idx3-ubyte, emnist-letters-test-labels-idx1-ubyte.gz
_NAME = re.compile(
    r"(?:.*[-_. ])?(train|t10k|test)[-_. ](images|labels)[-_. ]idx[13][-_. ]ubyte(\.gz)?",
    re.IGNORECASE,
)
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".rar", ".7z")


class IdxFiles(NamedTuple):
    """The IDX files of a folder.

    paths: of each array's file, by the array's name.
    problems: what is wrong with the other arrays, by name.
    """

    paths: Dict[str, str]
    problems: Dict[str, str]


def find_idx(folder: str) -> Optional[IdxFiles]:
    """Find the IDX files in a folder, or in folders in it that are named like the files.

    Archives often hold such folders. An unpacked file is preferred to the same one with ``.gz``.

    Returns:
        None if the folder has no such file.

    Raises:
        OSError: the folder cannot be read.
    """
    by_array: Dict[str, List[str]] = {}
    content = inside(folder)
    for name in content.files:
        _add(by_array, name, name)
    for name in content.folders:
        if _NAME.fullmatch(name):
            for inner in inside(os.path.join(folder, name)).files:
                _add(by_array, inner, os.path.join(name, inner))
    if not by_array:
        return None
    files = IdxFiles({}, {})
    for array, standard in STANDARD.items():
        places = by_array.get(array, [])
        stems = {_stem(place) for place in places}
        if len(stems) > 1:
            problem = "may be in {}; put the four files of one set into a folder"
            files.problems[array] = problem.format(", ".join(places))
        elif places:
            files.paths[array] = os.path.join(folder, min(places, key=_preference))
        else:
            files.problems[array] = _missing(standard)
    return files


def nothing_there(folder: str) -> IdxFiles:
    """The problems of a folder without any IDX file.

    Raises:
        OSError: the folder cannot be read.
    """
    content = inside(folder)
    names = [*content.folders, *content.files]
    holds = "; the folder holds {}".format(listed(names)) if names else ""
    if any(name.lower().endswith(_ARCHIVES) for name in names):
        holds += ": unpack it first"
    problems = {array: _missing(standard) for array, standard in STANDARD.items()}
    problems["x_train"] += holds
    return IdxFiles({}, problems)


def open_idx(path: str) -> Any:
    """Open an IDX file to read its unpacked bytes, whatever its name says.

    Browsers unpack a file and leave its name, or keep it packed under a name without ``.gz``.
    """
    if is_packed(path):
        return gzip.open(path, "rb")
    return open(path, "rb")


def is_packed(path: str) -> bool:
    """Whether a file is compressed with gzip, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _missing(standard: str) -> str:
    return "neither {} nor {}.gz exists".format(standard, standard)


def _stem(place: str) -> str:
    """A file's name in one spelling, without ``.gz``."""
    return re.sub(r"[-_. ]", "-", os.path.basename(place).lower().replace(".gz", ""))


def _add(by_array: Dict[str, List[str]], name: str, place: str) -> None:
    match = _NAME.fullmatch(name)
    if match:
        kind = "x" if match[2].lower() == "images" else "y"
        part = "train" if match[1].lower() == "train" else "test"
        by_array.setdefault("{}_{}".format(kind, part), []).append(place)


def _preference(place: str) -> Tuple[bool, int, str]:
    """A sort key: unpacked files first, then those with a short path."""
    return place.lower().endswith(".gz"), len(place), place
