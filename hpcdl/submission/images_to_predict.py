"""Looks at a folder of images before a prediction is sent: whether there is anything to predict."""

from __future__ import annotations

import os
from collections import Counter

from hpcdl.contract.image_folder import KINDS
from hpcdl.contract.new_images import VIDEOS, Image, list_files, look
from hpcdl.errors import Problem
from hpcdl.formats import several

_MOST_HEADS = 1000  # files of which none is an image before the rest is left to the run
_NOT_IN_BINDS = set(":,")
_ANY_SHAPE = (1, 1, 3)


def problems_of_folder(folder: str, problems: list[Problem], notes: list[str]) -> None:
    """Why a folder cannot be predicted, and what is left out of one that can.

    Args:
        folder: its path.
        problems: added to.
        notes: what the user should hear, added to.
    """
    where = f"FOLDER {folder}"
    if set(folder) & _NOT_IN_BINDS:
        message = "has ':' or ',' in its path, at which --bind splits; rename it, or make a link"
        problems.append(Problem(where, "", message))
    if not os.path.isdir(folder):
        state = "does not exist"
        if os.path.exists(folder):
            state = "is a file"
        problems.append(Problem(where, "", f"{state}; expected a folder of JPEG or PNG images"))
        return
    try:
        names = list_files(folder)
    except OSError as error:
        message = f"cannot be read: {error.filename}: {error.strerror}"
        problems.append(Problem(where, "", f"{message}; expected a folder that you may read"))
        return
    kinds: Counter[str] = Counter()
    for name in names:
        kinds[os.path.splitext(name)[1].lower()] += 1
    images = sum(kinds[kind] for kind in KINDS)
    videos = sum(kinds[kind] for kind in VIDEOS)
    if not names:
        problems.append(Problem(where, "", "holds no files; expected JPEG or PNG images"))
    elif not _holds_image(folder, names):
        message = f"holds {several(len(names), 'file')}, of which none is a JPEG or PNG image"
        advice = "hpcdl data pack converts other images"
        if videos:
            advice = "of videos, the frames must be saved as images first"
        problems.append(Problem(where, "", f"{message}; {advice}"))
    elif images < len(names):
        left = f"{len(names) - images:,} of {several(len(names), 'file')}"
        words = "what is not JPEG or PNG all the same will be in unusable.csv"
        notes.append(f"{left} not named like an image: {words}")


def _holds_image(folder: str, names: list[str]) -> bool:
    """Whether one of the files can be predicted; those that are named like images come first."""
    ordered = sorted(names, key=lambda name: not name.lower().endswith(KINDS))
    for name in ordered[:_MOST_HEADS]:
        if isinstance(look(os.path.join(folder, name), _ANY_SHAPE), Image):
            return True
    return len(ordered) > _MOST_HEADS
