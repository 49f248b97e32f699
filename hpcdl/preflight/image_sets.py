"""Data sets with images in files: what is wrong with a folder, a packed set or TFRecords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from hpcdl.contract import image_folder, pack_layout, ranges
from hpcdl.contract.array_rules import ROWS_PER_CLASS, split_off
from hpcdl.contract.errors import DataError
from hpcdl.contract.file_names import shown
from hpcdl.contract.idx import find_idx
from hpcdl.contract.nested_files import lies_deeper
from hpcdl.contract.record_files import RecordFiles, find_records
from hpcdl.contract.spec import DataSpec

_HEADS = 500  # image heads read here; the node reads all of them
_RGB = 3  # channels that files of images are decoded to


class Looked(NamedTuple):
    """What a look at a set gave.

    problems: what is wrong, and what to do about it each time.
    notes: what people should know.
    classes: the names of the classes, in their order; empty if only the node learns them.
    shape: [height, width, channels] of the images as the job takes them; None likewise.
    """

    problems: list[tuple[str, str]]
    notes: list[str]
    classes: Sequence[str] = ()
    shape: list[int] | None = None


def look(path: Path, data: DataSpec) -> Looked | None:
    """Look at a folder whose images lie in files.

    Args:
        path: the folder.
        data: how the job reads it.

    Returns:
        None if the folder holds none of these, but arrays.

    Raises:
        OSError: it cannot be read.
    """
    folder = str(path)
    if pack_layout.is_pack(folder):
        return _pack(folder, data)
    records = find_records(folder)
    if records is not None:
        problems = list(_records(records, data))
        return Looked(problems, records.notes, shape=_shape(data, None, _RGB))
    if not any(path.iterdir()):
        fix = "expected a folder of images for each class: see docs/my-data.md"
        return Looked([("is empty", fix)], [])
    if find_idx(folder) is not None:
        return None
    listed = image_folder.list_folder(folder)
    if listed is None:
        return None
    deeper = lies_deeper(folder, listed)
    if deeper is not None:
        cause, _, fix = deeper.rpartition(": ")
        return Looked([(cause, fix)], [])
    return _folder(folder, listed, data)


def _folder(path: str, listed: image_folder.Folder, data: DataSpec) -> Looked:
    """What is wrong with a folder of images per class."""
    problems = list(listed.problems)
    heads: list[image_folder.Head] = []
    for listing in listed.parts.values():
        heads += image_folder.read_heads(_sample(listing), problems)
    deep_images = sum(head.bits > 8 for head in heads)
    notes = [*listed.notes, *ranges.deep(deep_images)]
    if problems:
        return Looked(list(_shortened(path, problems)), notes)
    findings: list[tuple[str, str]] = []
    size = None
    if data.image_size is None:
        try:
            size = image_folder.one_size(heads, path)
        except DataError as error:
            findings.append((_below(path, error.message), error.hint))
    if "test" not in listed.parts:
        findings += _split(listed, data.test_split)
    classes = [shown(name) for name in listed.classes]
    return Looked(findings, notes, classes, _shape(data, size, _RGB))


def _shape(data: DataSpec, size: Sequence[int] | None, channels: int) -> list[int] | None:
    """The images' shape as the job takes them; None if they have no common size."""
    size = data.image_size or size
    return None if size is None else [*size, data.channels(channels)]


def _shortened(path: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    """The first of many problems, each with what to do, and how many more there are."""
    for problem in problems[: image_folder.SHOWN]:
        fix = "correct it or take it away; hpcdl data pack lists and converts images"
        yield _below(path, problem), fix
    more = len(problems) - image_folder.SHOWN
    if more > 0:
        yield f"{more:,} more of its files are wrong, too", "hpcdl data pack lists them all"


def _below(path: str, message: str) -> str:
    """A message without the folder's own path at its beginning."""
    start = shown(path)
    return message.removeprefix(f"{start}/").removeprefix(f"{start}: ")


def _sample(listing: image_folder.Listing) -> list[str]:
    """The paths of some of the images, in turn of each class."""
    by_class: dict[int, list[str]] = {}
    for file, label in zip(listing.paths, listing.labels, strict=True):
        by_class.setdefault(label, []).append(file)
    sample: list[str] = []
    for files in zip_longest(*by_class.values()):  # one of each class; None where it has no more
        sample += filter(None, files)
    return sample[:_HEADS]


def _split(folder: image_folder.Folder, share: float) -> Iterator[tuple[str, str]]:
    """The classes that lack rows on one side of the split, or rows to train on."""
    counts = Counter(folder.parts["train"].labels)
    for label, name in enumerate(folder.classes):
        rows = counts[label]
        off = split_off(rows, share)
        if not off or rows - off < ROWS_PER_CLASS:
            yield (
                f"data.test_split {share:g} would take {off} of the {rows} images "
                f"of class {shown(name)}",
                "give it more images, another data.test_split, or train and test folders",
            )


def _pack(folder: str, data: DataSpec) -> Looked:
    """What is wrong with a packed set."""
    try:
        pack = pack_layout.read_pack(folder)
    except DataError as error:
        return Looked([(_below(folder, error.message), error.hint)], [])
    problems = []
    for problem in pack.damaged_files(folder):
        problems.append((problem, "pack or copy it again: hpcdl data pack"))
    if pack.image_size is None and data.image_size is None:
        problems.append(("its images differ in size", "set data.image_size: [height, width]"))
    classes = [shown(name) for name in pack.classes]
    return Looked(problems, [], classes, _shape(data, pack.image_size, pack.channels))


def _records(files: RecordFiles, data: DataSpec) -> Iterator[tuple[str, str]]:
    yield from files.problems
    if data.image_size is None:
        yield "TFRecords hold images of any size", "set data.image_size: [height, width]"
