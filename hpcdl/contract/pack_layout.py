"""What a packed set consists of: ``pack.json``, which names its files, and the files' sizes.

``hpcdl data pack`` writes it; ``hpcdl check`` and the trainer read it.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, NamedTuple, Optional

from hpcdl.contract.errors import DataError

PACK = "pack.json"  # the folder of a packed set has it, and no other
LINES = "images.jsonl"  # a line for each image, with the file that it was
FORMAT, VERSION = "hpcdl-pack", 1
NPY, TFRECORD = "npy", "tfrecord"  # kinds of storage
PARTS = ("train", "test")
# RecursionError: JSON that is nested a thousand deep
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


class PackedPart(NamedTuple):
    """One part of a packed set.

    files: the names of its files of images.
    labels: the name of its file of labels.
    """

    files: List[str]
    labels: str


class Pack(NamedTuple):
    """What pack.json says.

    classes: the names, by class number.
    image_size: (height, width) of all images in pixels; None if they differ.
    channels: 1 or 3.
    storage: `NPY`, one array a part, or `TFRECORD`.
    parts: by name.
    file_bytes: the size that each file of images was packed with, by its name.
    """

    classes: List[str]
    image_size: Optional[List[int]]
    channels: int
    storage: str
    parts: Dict[str, PackedPart]
    file_bytes: Dict[str, int]

    def damaged_files(self, folder: str) -> List[str]:
        """The files that lack bytes or are missing, and how much each one has."""
        problems = []
        for name, packed_bytes in self.file_bytes.items():
            path = os.path.join(folder, name)
            state = "is missing"
            if os.path.exists(path):
                size = os.path.getsize(path)
                if size == packed_bytes:
                    continue
                state = "has {:,} bytes".format(size)
            problems.append("{}: {}; it was packed with {:,}".format(name, state, packed_bytes))
        return problems


def is_pack(folder: str) -> bool:
    """Whether a folder is a packed set."""
    return os.path.exists(os.path.join(folder, PACK))


def read_pack(folder: str) -> Pack:
    """Read pack.json.

    Raises:
        DataError: it is damaged, or of another version.
        OSError: it cannot be read.
    """
    path = os.path.join(folder, PACK)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if content.get("format") != FORMAT or content.get("version") != VERSION:
            raise DataError(
                "{}: is format {} version {}; expected {} version {}".format(
                    path, content.get("format"), content.get("version"), FORMAT, VERSION
                ),
                "pack the images again with this hpcdl: hpcdl data pack",
            )
        return _pack(content)
    except _DAMAGE as error:
        raise DataError(
            "{}: is damaged ({}: {})".format(path, type(error).__name__, error),
            "pack or copy it again: hpcdl data pack",
        )


def _pack(content: Dict[str, Any]) -> Pack:
    if content["storage"] == NPY and content["image_size"] is None:
        raise ValueError("image_size is missing")
    parts = {}
    file_bytes: Dict[str, int] = {}
    for part, about in content["parts"].items():
        files = []
        for entry in about["files"]:
            files.append(_text(entry["name"]))
            file_bytes[entry["name"]] = int(entry["bytes"])
        parts[part] = PackedPart(files, _text(about["labels"]))
    return Pack(
        content["classes"],
        content["image_size"],
        int(content["channels"]),
        content["storage"],
        parts,
        file_bytes,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("{!r} is not text".format(value))
    return value
