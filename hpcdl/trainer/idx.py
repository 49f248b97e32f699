"""MNIST's IDX files in a folder: which file holds which array, by the files' names.

The checks before a job is sent use it as well: numpy and tensorflow are not imported here.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from hpcdl.trainer.imagewalk import inside

DIMENSIONS = {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1}
STANDARD = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
# train-images-idx3-ubyte, train-images.idx3-ubyte, emnist-letters-test-labels-idx1-ubyte.gz
_NAME = re.compile(r"(?:.*[-_. ])?(train|t10k|test)[-_. ](images|labels)[-_. ]idx[13][-_. ]ubyte(\.gz)?", re.IGNORECASE)


class IdxFiles(NamedTuple):
    """IDX files: the path of each array's, and what is wrong with the others."""

    paths: Dict[str, str]
    wrong: Dict[str, str]


def find_idx(folder: str) -> Optional[IdxFiles]:
    """Find the IDX files in a folder. Archives often put each one into a folder of its own name.

    An unpacked file is preferred to the same one with ``.gz``.

    Returns:
        None if there is not even one.

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
        stems = {re.sub(r"[-_. ]", "-", os.path.basename(place).lower().replace(".gz", "")) for place in places}
        if len(stems) > 1:
            files.wrong[array] = "may be in {}; put the four files of one set into a folder".format(", ".join(places))
        elif places:
            files.paths[array] = os.path.join(folder, min(places, key=_preference))
        else:
            files.wrong[array] = _missing(standard)
    return files


def nothing_there() -> IdxFiles:
    """What is said of a folder without any IDX file."""
    return IdxFiles({}, {array: _missing(standard) for array, standard in STANDARD.items()})


def _missing(standard: str) -> str:
    return "neither {} nor {}.gz is there".format(standard, standard)


def _add(by_array: Dict[str, List[str]], name: str, place: str) -> None:
    match = _NAME.fullmatch(name)
    if match:
        kind = "x" if match[2].lower() == "images" else "y"
        part = "train" if match[1].lower() == "train" else "test"
        by_array.setdefault("{}_{}".format(kind, part), []).append(place)


def _preference(place: str) -> Tuple[bool, int, str]:
    return place.lower().endswith(".gz"), len(place), place
