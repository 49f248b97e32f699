"""Data sets with images in files: what is wrong with a folder, a packed set or TFRecords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from hpcdl.contract import image_folder, ranges
from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown
from hpcdl.contract.idx import find_idx
from hpcdl.contract.nested_files import lies_deeper
from hpcdl.contract.record_files import RecordFiles, find_records
from hpcdl.contract.spec import DataSpec
from hpcdl.files import read_json
from hpcdl.staging import PACK

_LOOKED_AT = 500  # image heads: the node looks at all of them


class Looked(NamedTuple):
    """What a look at a set gave.

    problems: what is wrong, and what to do about it each time.
    notes: what people should know.
    """

    problems: list[tuple[str, str]]
    notes: list[str]


def look(path: Path, data: DataSpec) -> Looked | None:
    """Look at a folder whose images lie in files.

    Returns:
        None if the folder holds none of these, but arrays.

    Raises:
        OSError: it cannot be read.
    """
    if (path / PACK).exists():
        return Looked(list(_pack(path, data)), [])
    records = find_records(str(path))
    if records is not None:
        return Looked(list(_records(records, data)), records.notes)
    if not any(path.iterdir()):
        return Looked(
            [("is empty", "expected a folder of images for each class: see docs/my-data.md")], []
        )
    if find_idx(str(path)) is not None:
        return None
    listed = image_folder.list_folder(str(path))
    if listed is None:
        return None
    deeper = lies_deeper(str(path), listed)
    if deeper is not None:
        cause, _, fix = deeper.rpartition(": ")
        return Looked([(cause, fix)], [])
    wrong: list[str] = list(listed.problems)
    heads: list[image_folder.Head] = []
    for listing in listed.parts.values():
        heads += image_folder.read_heads(_some(listing), wrong)
    notes = [*listed.notes, *ranges.deep(sum(head.bits > 8 for head in heads))]
    return Looked(list(_images(path, listed, data, heads, wrong)), notes)


def _images(
    path: Path,
    folder: image_folder.Folder,
    data: DataSpec,
    heads: list[image_folder.Head],
    wrong: list[str],
) -> Iterator[tuple[str, str]]:
    start = shown(str(path))
    for text in wrong[: image_folder.SHOWN]:
        cause = text.removeprefix(f"{start}/").removeprefix(f"{start}: ")
        yield cause, "correct it or take it away; hpcdl data pack lists and converts images"
    if len(wrong) > image_folder.SHOWN:
        yield (
            f"{len(wrong) - image_folder.SHOWN:,} more of its files are as wrong",
            "hpcdl data pack lists them all",
        )
    if wrong:
        return
    if data.image_size is None:
        try:
            image_folder.one_size(heads, str(path))
        except DataError as error:
            yield error.message.removeprefix(f"{start}: "), error.hint
    if "test" not in folder.parts:
        yield from _split(folder, data.test_split)


def _some(listing: image_folder.Listing) -> list[str]:
    """A sample of the images, of every class alike."""
    by_class: dict[int, list[str]] = {}
    for file, label in zip(listing.paths, listing.labels, strict=True):
        by_class.setdefault(label, []).append(file)
    turns = zip_longest(*by_class.values())
    return [file for turn in turns for file in turn if file is not None][:_LOOKED_AT]


def _split(folder: image_folder.Folder, share: float) -> Iterator[tuple[str, str]]:
    """Each class has rows on both sides of the split, two of them to train on."""
    counts = Counter(folder.parts["train"].labels)
    for number, name in enumerate(folder.classes):
        off = round(counts[number] * share)
        if not off or counts[number] - off < 2:
            yield (
                f"data.test_split {share:g} would take {off} of the {counts[number]} images of class {shown(name)}",
                "give it more images, another data.test_split, or train and test folders",
            )


def _pack(path: Path, data: DataSpec) -> Iterator[tuple[str, str]]:
    about = read_json(path / PACK) or {}
    again = "pack or copy it again: hpcdl data pack"
    if about.get("format") != "hpcdl-pack" or about.get("version") != 1:
        yield f"{PACK} is not one that this hpcdl reads", again
        return
    try:
        files = [
            (row["name"], row["bytes"]) for part in about["parts"].values() for row in part["files"]
        ]
        size = about["image_size"]
    except (KeyError, TypeError, AttributeError):
        yield f"{PACK} is damaged", again
        return
    for name, packed_bytes in files:
        file = path / name
        there = file.stat().st_size if file.exists() else 0
        if there != packed_bytes:
            yield f"{name} has {there:,} bytes; it was packed with {packed_bytes:,}", again
    if size is None and data.image_size is None:
        yield "its images differ in size", "set data.image_size: [height, width]"


def _records(files: RecordFiles, data: DataSpec) -> Iterator[tuple[str, str]]:
    yield from files.problems
    if data.image_size is None:
        yield "TFRecords hold images of any size", "set data.image_size: [height, width]"
