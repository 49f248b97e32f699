"""A folder of images per class, as ``hpcdl data pack`` reads it: parts, and a fixed order of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hpcdl.contract.file_names import shown
from hpcdl.contract.image_tree import Layout, read_layout
from hpcdl.contract.image_walk import Walker, leads_nowhere
from hpcdl.contract.pack_layout import PARTS
from hpcdl.errors import HpcdlError, Problem, ProblemsError
from hpcdl.staging.pillow_picture import SourceFile

_IMAGES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".heic",
    ".avif",
}


@dataclass
class ImageFolder:
    """A folder of images, looked through.

    Args:
        classes: their names, sorted as text as Keras does; a name's place is the class's number.
        parts: the files of ``train`` and ``test``, in the order of their rows.
        joined: folders of validation images that became part of train.
        outside: files that lie in no class's folder, by their place below the folder; their names
            are not those of images.
        stray: images by their names that lie in no class's folder.
        notes: what people should know.
    """

    classes: tuple[str, ...]
    parts: dict[str, list[SourceFile]]
    joined: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[tuple[str, SourceFile]]:
        """The part and the file of each row."""
        return [(part, file) for part in PARTS for file in self.parts[part]]


def scan(folder: Path, test_split: float | None = None) -> ImageFolder:
    """Look through a folder of images per class, or of parts with those; no file is opened.

    Args:
        folder: the folder, laid out as `hpcdl.contract.image_tree.read_layout` reads it. Links are followed.
        test_split: the share of each class that becomes the test part if there is none; None: 0.2.
            The same files are chosen for the same names, always.

    Raises:
        ProblemsError: it is laid out in another way, with everything that is wrong.
        HpcdlError: it cannot be read.
    """
    walker = Walker(str(folder))
    try:
        layout = read_layout(str(folder))
        by_class = _files(folder, layout, walker)
    except OSError as error:
        raise HpcdlError(f"cannot read {shown(str(error.filename))}: {error.strerror}") from error
    walker.check_classes()
    has_test = "test" in layout.tops.values()
    problems = [*layout.problems, *walker.problems]
    if has_test and test_split is not None:
        problems.append("has a test part: --test-split is for folders without one")
    problems += _missing(by_class, layout.classes, has_test)
    if problems:
        raise ProblemsError(
            f"{shown(str(folder))} cannot be packed",
            [Problem("", "", text.removeprefix(f"{shown(str(folder))}: ")) for text in problems],
        )
    if not has_test:
        _split(by_class, 0.2 if test_split is None else test_split)
    parts = {
        part: _shuffled("order", [file for files in by_class[part] for file in files])
        for part in PARTS
    }
    notes = [*layout.notes, *walker.notes]
    listed = ImageFolder(tuple(layout.classes), parts, joined=layout.joined, notes=notes)
    for name in layout.loose:
        is_image = os.path.splitext(name)[1].lower() in _IMAGES
        (listed.stray if is_image else listed.outside).append(name)
    return listed


def _files(folder: Path, layout: Layout, walker: Walker) -> dict[str, list[list[SourceFile]]]:
    """The files of each class, by part."""
    by_class: dict[str, list[list[SourceFile]]] = {
        part: [[] for _ in layout.classes] for part in PARTS
    }
    for top, part in layout.tops.items():
        for label, name in enumerate(layout.classes):
            place = os.path.join(top, name)
            if os.path.isdir(folder / place):
                by_class[part][label] += [
                    _source_file(file, label, entry) for file, entry in walker.files(place)
                ]
    return by_class


def _source_file(file: str, label: int, entry: os.DirEntry[str]) -> SourceFile:
    try:
        seen = entry.stat()
    except OSError:
        if not leads_nowhere(entry):
            raise
        return SourceFile(file, label, 0, 0)  # named with what else cannot be read
    return SourceFile(file, label, seen.st_size, seen.st_mtime_ns)


def _missing(
    by_class: dict[str, list[list[SourceFile]]], classes: list[str], has_test: bool
) -> Iterator[str]:
    """The classes without enough images."""
    names = [shown(name) for name in classes]
    for part in PARTS if has_test else ("train",):
        empty = [name for name, files in zip(names, by_class[part], strict=True) if not files]
        if empty:
            yield f"no image of {', '.join(empty)} in the {part} part; expected some of each class"
    single = [name for name, files in zip(names, by_class["train"], strict=True) if len(files) == 1]
    if single and not has_test:
        yield f"one image alone of {', '.join(single)}: the train and the test part need one each"


def _split(by_class: dict[str, list[list[SourceFile]]], share: float) -> None:
    """Move a share of each class from train to test, and at least one file, and not all."""
    for label, files in enumerate(by_class["train"]):
        count = min(max(round(len(files) * share), 1), len(files) - 1)
        shuffled = _shuffled("split", files)
        by_class["test"][label], by_class["train"][label] = shuffled[:count], shuffled[count:]


def _shuffled(purpose: str, files: list[SourceFile]) -> list[SourceFile]:
    """The files in an order that depends on their names and the purpose alone."""
    return sorted(
        files, key=lambda file: hashlib.sha256(os.fsencode(f"{purpose} {file.file}")).digest()
    )
