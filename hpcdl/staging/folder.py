"""Lists a folder of images per class for ``hpcdl data pack``: parts, and a fixed order of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from hpcdl.contract.file_names import shown
from hpcdl.contract.image_tree import Layout, read_layout
from hpcdl.contract.image_walk import Walker, leads_nowhere
from hpcdl.contract.pack_layout import PARTS
from hpcdl.errors import HpcdlError, Problem, ProblemsError
from hpcdl.staging.pillow_picture import SourceFile

_TEST_SPLIT = 0.2
# More kinds than training reads (`image_folder.KINDS`): packing converts them, or names those that
# it cannot convert
_IMAGES = frozenset(
    [
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
    ]
)


@dataclass
class ImageFolder:
    """What a folder of images holds.

    Args:
        classes: their names, sorted as text as Keras does; a name's place is the class's number.
        parts: the files of ``train`` and ``test``, in the order of their rows.
        joined: folders of validation images that became part of train.
        outside: files that lie in no class's folder and are not named like images, by their path
            below the folder.
        stray: files that lie in no class's folder and are named like images, in the same way.
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
    """List a folder of images per class, or of parts with those; no file is opened.

    Args:
        folder: the folder, laid out as `hpcdl.contract.image_tree.read_layout` reads it. Links are
            followed.
        test_split: the share of each class that becomes the test part if there is none; None: 0.2.
            The same names always give the same choice.

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
        start = f"{shown(str(folder))}: "
        below = [Problem("", "", problem.removeprefix(start)) for problem in problems]
        raise ProblemsError(f"{shown(str(folder))} cannot be packed", below)
    if not has_test:
        _split(by_class, _TEST_SPLIT if test_split is None else test_split)
    parts = {}
    for part in PARTS:
        parts[part] = _shuffled("order", chain.from_iterable(by_class[part]))
    notes = [*layout.notes, *walker.notes]
    listed = ImageFolder(tuple(layout.classes), parts, joined=layout.joined, notes=notes)
    for name in layout.loose:
        is_image = os.path.splitext(name)[1].lower() in _IMAGES
        (listed.stray if is_image else listed.outside).append(name)
    return listed


def _files(folder: Path, layout: Layout, walker: Walker) -> dict[str, list[list[SourceFile]]]:
    """The files of each class, by part."""
    by_class: dict[str, list[list[SourceFile]]] = {}
    for part in PARTS:
        by_class[part] = [[] for _ in layout.classes]
    for top, part in layout.tops.items():
        for label, name in enumerate(layout.classes):
            place = os.path.join(top, name)
            if os.path.isdir(folder / place):
                for file, entry in walker.files(place):
                    by_class[part][label].append(_source_file(file, label, entry))
    return by_class


def _source_file(file: str, label: int, entry: os.DirEntry[str]) -> SourceFile:
    try:
        stat = entry.stat()
    except OSError:
        if not leads_nowhere(entry):
            raise
        return SourceFile(file, label, 0, 0)  # reported with what else cannot be read
    return SourceFile(file, label, stat.st_size, stat.st_mtime_ns)


def _missing(
    by_class: dict[str, list[list[SourceFile]]], classes: list[str], has_test: bool
) -> Iterator[str]:
    """The classes without enough images."""
    names = [shown(name) for name in classes]
    for part in PARTS if has_test else ("train",):
        empty = [name for name, files in zip(names, by_class[part], strict=True) if not files]
        if empty:
            yield f"no image of {', '.join(empty)} in the {part} part; expected some of each class"
    if has_test:
        return
    single = [name for name, files in zip(names, by_class["train"], strict=True) if len(files) == 1]
    if single:
        yield f"only one image of {', '.join(single)}: the train and the test part need one each"


def _split(by_class: dict[str, list[list[SourceFile]]], share: float) -> None:
    """Move a share of each class from train to test: at least one file, and not all."""
    for label, files in enumerate(by_class["train"]):
        count = min(max(round(len(files) * share), 1), len(files) - 1)
        shuffled = _shuffled("split", files)
        by_class["test"][label], by_class["train"][label] = shuffled[:count], shuffled[count:]


def _shuffled(purpose: str, files: Iterable[SourceFile]) -> list[SourceFile]:
    """The files in an order that depends on their names and the purpose alone."""

    def key(file: SourceFile) -> bytes:
        return hashlib.sha256(os.fsencode(f"{purpose} {file.file}")).digest()

    return sorted(files, key=key)
