"""Lists the images to predict: all files of a folder and of those below it, with what they are."""

from __future__ import annotations

import os
import struct
from typing import Iterator, List, NamedTuple, Set, Tuple, Union

from hpcdl.contract.file_names import is_system
from hpcdl.contract.image_heads import Head, read_head
from hpcdl.contract.image_walk import leads_nowhere, nowhere

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
_MOST_BITS = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_WITH_ALPHA = (4, 6)  # PNG's colour types: grey and RGB, each with transparency
_SMALL = 2  # more than so many times enlarged is worth a note; so is a side squeezed that much


class Image(NamedTuple):
    """A file that can be predicted, as its head tells.

    orientation: EXIF's, 1 (upright) to 8.
    notes: what may make the answer worse.
    """

    orientation: int
    notes: List[str]


def list_files(folder: str) -> List[str]:
    """The files below a folder, relative to it and sorted; without those of the system.

    Links to folders are followed, but no folder is listed twice.

    Raises:
        OSError: a folder cannot be read.
    """
    return list(_below(folder, "", set()))


def _below(root: str, place: str, visited: Set[Tuple[int, int]]) -> Iterator[str]:
    path = os.path.join(root, place)
    status = os.stat(path)
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    with os.scandir(path) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if is_system(entry.name):
            continue
        inner = os.path.join(place, entry.name)
        if not leads_nowhere(entry) and os.path.isdir(entry.path):
            yield from _below(root, inner, visited)
        else:
            yield inner


def look(path: str, shape: Tuple[int, ...]) -> Union[Image, str]:
    """What the head of a file tells.

    Args:
        path: of the file.
        shape: (height, width, channels) that the model takes.

    Returns:
        the reason, if it cannot be predicted.
    """
    if os.path.islink(path) and not os.path.exists(path):
        return nowhere(path)
    try:
        head = read_head(path)
        with open(path, "rb") as file:
            start = file.read(26)
    except OSError as error:
        return "cannot be read: {}".format(error.strerror or error)
    except (ValueError, struct.error) as error:
        if path.lower().endswith(VIDEOS):
            return "is a video; its frames must be saved as JPEG or PNG files"
        return str(error)
    if head.bits > _MOST_BITS:
        return "has {} bits a value, not 8; convert it as the training images were".format(
            head.bits
        )
    notes = size_notes(head, shape)
    if start.startswith(_PNG) and start[25] in _WITH_ALPHA:
        notes.insert(0, "its transparency is dropped")
    return Image(head.orientation, notes)


def size_notes(head: Head, shape: Tuple[int, ...]) -> List[str]:
    """Notes on an image that is much smaller than the model's, or has another form."""
    height, width = shape[:2]
    notes = []
    if min(head.width / width, head.height / height) < 1 / _SMALL:
        notes.append(
            "is {}x{}: enlarged more than {} times".format(head.width, head.height, _SMALL)
        )
    squeezed = (head.width / head.height) * (height / width)
    if not 1 / _SMALL <= squeezed <= _SMALL:
        notes.append("is {}x{}: squeezed by more than half".format(head.width, head.height))
    return notes
