"""A folder of images per class as it lies on disk: its classes, its parts, and the fixed order of its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hpcdl.data.pictures import SourceFile
from hpcdl.errors import HpcdlError, Problem, ProblemsError
from hpcdl.trainer.images import PARTS as PART_FOLDERS

PARTS = ("train", "test")
_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"}  # what desktops and NAS leave; and .*
_IMAGES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".heic", ".avif"}


@dataclass
class ImageFolder:
    """What was found.

    Args:
        classes: their names, sorted as text as Keras does; a name's place is the class's number.
        parts: the files of ``train`` and ``test``, in the order of their rows.
        joined: folders of validation images that became part of train.
        outside: files that lie in no class's folder, by their place below the folder; no images by their names.
        stray: images by their names that lie in no class's folder.
    """

    classes: tuple[str, ...]
    parts: dict[str, list[SourceFile]]
    joined: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[tuple[str, SourceFile]]:
        """The part and the file of each row."""
        return [(part, file) for part in PARTS for file in self.parts[part]]


def scan(folder: Path, test_split: float | None = None) -> ImageFolder:
    """Look through a folder of images per class, or of train and test folders with those; no file is opened.

    Args:
        folder: the folder; links in it are followed.
        test_split: the share of each class that becomes the test part where there is none; None: 0.2. The same
            files are chosen for the same names, always.

    Raises:
        ProblemsError: it is laid out in another way, with everything that is wrong.
        HpcdlError: it cannot be read.
    """
    wrong: list[str] = []
    found = ImageFolder((), {"train": [], "test": []})
    try:
        roots, names = _layout(folder, found, wrong)
        found.classes = tuple(names)
        by_class: dict[str, list[list[SourceFile]]] = {part: [[] for _ in names] for part in PARTS}
        for root, part in roots.items():
            for label, name in enumerate(names):
                place = os.path.join(root, name)
                if os.path.isdir(folder / place):
                    by_class[part][label] += _walk(str(folder), place, label, ())
    except OSError as error:
        raise HpcdlError(f"cannot read {error.filename}: {error.strerror}") from error
    has_test = "test" in roots.values()
    if has_test and test_split is not None:
        wrong.append("has a test part: --test-split is for folders without one")
    wrong += _missing(by_class, names, has_test)
    if wrong:
        raise ProblemsError(f"{folder} cannot be packed", [Problem("", "", text) for text in wrong])
    if not has_test:
        _split(by_class, 0.2 if test_split is None else test_split)
    for part in PARTS:
        found.parts[part] = _shuffled("order", [file for files in by_class[part] for file in files])
    return found


def _layout(folder: Path, found: ImageFolder, wrong: list[str]) -> tuple[dict[str, str], list[str]]:
    """The folders that hold classes' folders, with the part that each is, and the names of the classes."""
    names = _folders(folder, "", found)
    parts = {name: PART_FOLDERS[name.lower()] for name in names if name.lower() in PART_FOLDERS}
    if not parts:
        if len(names) < 2:
            wrong.append(f"expected a folder for each of at least 2 classes; it has {', '.join(names) or 'none'}")
        return {"": "train"}, names
    if others := [name for name in names if name not in parts]:
        wrong.append(f"has {', '.join(parts)} as parts; what are {', '.join(others)} beside?")
    if "train" not in parts.values():
        wrong.append(f"has {', '.join(parts)} but no train folder")
    found.joined = [name for name in parts if name.lower().startswith("val")]
    inside = {name: _folders(folder, name, found) for name in parts}
    names = sorted(set().union(*inside.values()))
    if len(names) < 2:
        wrong.append(f"expected a folder for each of at least 2 classes in train; it has {', '.join(names) or 'none'}")
    return parts, names


def _missing(by_class: dict[str, list[list[SourceFile]]], names: list[str], has_test: bool) -> Iterator[str]:
    """The classes without enough images."""
    for part in PARTS if has_test else ("train",):
        empty = [name for name, files in zip(names, by_class[part], strict=True) if not files]
        if empty:
            yield f"no image of {', '.join(empty)} in the {part} part; expected some of each class"
    single = [name for name, files in zip(names, by_class["train"], strict=True) if len(files) == 1]
    if single and not has_test:
        yield f"one image alone of {', '.join(single)}: the train and the test part need one each"


def _folders(folder: Path, place: str, found: ImageFolder) -> list[str]:
    """The folders below a place, sorted; files there are noted."""
    names = []
    for name in sorted(filter(_counts, os.listdir(folder / place))):
        if os.path.isdir(folder / place / name):
            names.append(name)
        else:
            looks_so = os.path.splitext(name)[1].lower() in _IMAGES
            (found.stray if looks_so else found.outside).append(os.path.join(place, name))
    return names


def _walk(folder: str, place: str, label: int, above: tuple[tuple[int, int], ...]) -> list[SourceFile]:
    """The files of a class, also those in folders within its folder."""
    here = os.stat(os.path.join(folder, place))
    if (here.st_dev, here.st_ino) in above:
        raise HpcdlError(f"{os.path.join(folder, place)} leads back to a folder above it")
    above += ((here.st_dev, here.st_ino),)
    files = []
    with os.scandir(os.path.join(folder, place)) as entries:
        found = sorted((entry for entry in entries if _counts(entry.name)), key=lambda entry: entry.name)
    for entry in found:
        inner = f"{place}/{entry.name}"
        if entry.is_dir():
            files += _walk(folder, inner, label, above)
            continue
        try:
            seen = entry.stat()
        except FileNotFoundError:  # a link to nowhere: named with what else cannot be read
            files.append(SourceFile(inner, label, 0, 0))
        else:
            files.append(SourceFile(inner, label, seen.st_size, seen.st_mtime_ns))
    return files


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _JUNK


def _split(by_class: dict[str, list[list[SourceFile]]], share: float) -> None:
    """Move a share of each class from train to test, and at least one file, and not all."""
    for label, files in enumerate(by_class["train"]):
        count = min(max(round(len(files) * share), 1), len(files) - 1)
        shuffled = _shuffled("split", files)
        by_class["test"][label], by_class["train"][label] = shuffled[:count], shuffled[count:]


def _shuffled(purpose: str, files: list[SourceFile]) -> list[SourceFile]:
    """The files in an order that depends on their names alone, and is another one for each purpose."""
    return sorted(files, key=lambda file: hashlib.sha256(os.fsencode(f"{purpose} {file.file}")).digest())
