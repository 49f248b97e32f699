"""Looks for TFRecord and IDX files in folders further down, where archives unpack them."""

from __future__ import annotations

import os
from typing import Optional

from hpcdl.contract.file_names import shown
from hpcdl.contract.idx import find_idx
from hpcdl.contract.image_folder import Folder
from hpcdl.contract.image_walk import inside
from hpcdl.contract.record_files import find_records

_LEVELS = 4  # below the folder
_MOST_FOLDERS = 50  # of those that are looked at


def lies_deeper(folder: str, listed: Folder) -> Optional[str]:
    """What to do about a folder without images that has records or IDX files further down.

    Args:
        folder: the folder.
        listed: what it is as a folder of images.

    Returns:
        None if it has images, or no such files.

    Raises:
        OSError: a folder cannot be read.
    """
    if any(part.paths for part in listed.parts.values()):
        return None
    level = [folder]
    looked_at = 0
    for _ in range(_LEVELS):
        below = []
        for place in level:
            looked_at += 1
            if looked_at > _MOST_FOLDERS:
                return None
            if find_records(place) is not None or find_idx(place) is not None:
                return "its TFRecord or IDX files lie in {0}: set data.path to {0}".format(
                    shown(place)
                )
            below += [os.path.join(place, name) for name in inside(place).folders]
        level = below
    return None
