"""Reads how a folder of images is laid out: which folders are parts, and which are classes.

The trainer, ``hpcdl check`` and ``hpcdl data pack`` all use it.
"""

from __future__ import annotations

import os
from typing import Dict, Iterable, List, NamedTuple, Set, Tuple

from hpcdl.contract.file_names import (
    EVALUATION,
    IMAGES,
    MASKS,
    TEST,
    TRAIN,
    UNLABELLED,
    VALIDATION,
    alike,
    content_of,
    how_to_sort,
    part_of,
    shown,
)
from hpcdl.contract.image_walk import Inside, inside, listed, nowhere

_MOST_LEVELS = 4  # how far a folder that holds nothing but one folder is followed
_SHARED_CLASSES = 0.5  # parts share at least this fraction of their classes


class _PartFolder(NamedTuple):
    """A folder that is named like a part: the part, whether its name means nothing else."""

    kind: str
    exact: bool
    content: Inside


_Named = Dict[str, _PartFolder]


class Layout(NamedTuple):
    """How a folder of images is laid out. All paths are relative to it.

    tops: the folders that hold the classes' folders, and the part of the set that each is
        (``train`` or ``test``); the folder itself is "".
    classes: the names of the classes' folders, sorted.
    loose: files next to the classes' folders.
    joined: folders of validation images that become part of ``train``.
    notes: what people should know.
    problems: why it cannot be used.
    """

    tops: Dict[str, str]
    classes: List[str]
    loose: List[str]
    joined: List[str]
    notes: List[str]
    problems: List[str]


def read_layout(root: str) -> Layout:
    """Find out which folders are classes and which are parts of the set.

    Folders named like parts (`file_names.part_of`) that hold folders are parts: they are used as
    such, or `Layout.problems` says why not. They are never silently taken for classes. A folder
    named like a part that holds images, next to classes that do the same, is a class.

    Raises:
        OSError: a folder cannot be read.
    """
    return _Reader(root).layout()


class _Reader:
    """Reads the layout of one folder."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._layout = Layout({}, [], [], [], [], [])

    def layout(self) -> Layout:
        here = self._look("")
        named: _Named = {}
        for name in here.folders:
            part = part_of(name)
            if part is not None:
                content = inside(os.path.join(self._root, name))
                named[name] = _PartFolder(part.kind, part.exact, content)
        others = [name for name in here.folders if name not in named]
        classes: Set[str] = set()
        if _are_parts(named, others):
            self._find_parts(named, others)
            folders = {place: self._look(place).folders for place in self._layout.tops}
            for names in folders.values():
                classes.update(names)
            self._refuse_classes_of_validation_alone(folders)
        else:
            self._layout.tops[""] = TRAIN
            self._refuse_parts_without_classes(named, others)
            self._refuse_masks(here)
            classes.update(here.folders)
        self._layout.classes.extend(sorted(classes))
        self._check_classes(here)
        return self._layout

    def _look(self, place: str) -> Inside:
        """List a folder that holds classes' folders; files in it belong to no class."""
        content = inside(os.path.join(self._root, place))
        for name in content.files:
            self._layout.loose.append(os.path.join(place, name))
        for name in content.dangling:
            path = os.path.join(self._root, place, name)
            self._layout.problems.append("{} {}".format(shown(path), nowhere(path)))
        return content

    def _find_parts(self, named: _Named, others: List[str]) -> None:
        has_test = TEST in _kinds(named.values())
        used = {}
        for name, folder in named.items():
            if folder.kind == UNLABELLED:
                self._layout.notes.append(
                    "{}: left out, its images have no class".format(shown(name))
                )
                continue
            used[name] = _part(folder.kind, has_test)
            if folder.kind == VALIDATION or (folder.kind == EVALUATION and has_test):
                self._layout.joined.append(name)
            place, content = self._below_double(name, folder.content)
            if content.folders:
                self._layout.tops[place] = used[name]
            else:
                self._layout.problems.append(self._no_classes(place, content))
        if others:
            self._layout.problems.append(
                "{}: has {} as parts of the set; what are {} next to them? Move them out of this "
                "folder, or set data.path to the folder with the training images; if all are "
                "classes, rename those that are named like parts".format(
                    shown(self._root), listed(used), listed(others)
                )
            )
        self._check_kinds(named, used, others)
        meanings = []
        for name, part in used.items():
            if name.lower() != part and name not in self._layout.joined:
                meanings.append("{} is the {} part".format(shown(name), part))
        if meanings:
            self._layout.notes.append(", ".join(meanings))

    def _check_kinds(self, named: _Named, used: Dict[str, str], others: List[str]) -> None:
        if TRAIN not in _kinds(named.values()):
            self._layout.problems.append(
                "{}: has {} but no train folder; "
                "call the folder of the training images train".format(
                    shown(self._root), listed(used)
                )
            )
        loose = [name for name in used if not named[name].exact]
        has_one_part = len(set(used.values())) == 1 and not self._layout.joined
        if len(loose) > 1 and has_one_part and not others:
            self._layout.problems.append(
                "{}: {} may be parts of the set or classes; rename them to say which: train and "
                "test, or the classes' names without such words".format(
                    shown(self._root), listed(loose)
                )
            )

    def _below_double(self, name: str, content: Inside) -> Tuple[str, Inside]:
        """Archives often hold a folder of the same name again: seg_train/seg_train."""
        place = name
        while (
            len(content.folders) == 1
            and not content.files
            and _says_the_same(name, content.folders[0])
        ):
            place = os.path.join(place, content.folders[0])
            content = inside(os.path.join(self._root, place))
        return place, content

    def _no_classes(self, place: str, content: Inside) -> str:
        return (
            "{}: holds files ({:,}) and no folders; expected a folder for each class in it. "
            "Images without a class cannot be used: move this folder away, or set data.path to the "
            "folder with the training images".format(
                shown(os.path.join(self._root, place)), len(content.files)
            )
        )

    def _refuse_classes_of_validation_alone(self, folders: Dict[str, List[str]]) -> None:
        """Folders that validation parts hold and training parts lack: ``val/images``, say."""
        joined = set(self._layout.joined)
        own: Set[str] = set()
        for place, part in self._layout.tops.items():
            if part == TRAIN and place.split("/")[0] not in joined:
                own.update(folders[place])
        for place, names in folders.items():
            extra = [name for name in names if name not in own]
            if place.split("/")[0] in joined and own and extra:
                self._layout.problems.append(
                    "{}: holds {}, of which the training part has no folder; every class needs "
                    "images to train on. Sort them into the classes' folders, or move this folder "
                    "away".format(shown(os.path.join(self._root, place)), listed(extra))
                )

    def _refuse_parts_without_classes(self, named: _Named, others: List[str]) -> None:
        """Folders of several parts that hold their images directly show no classes."""
        parts = [folder for folder in named.values() if folder.exact or not others]
        if len(_kinds(parts) - {UNLABELLED}) > 1:
            self._layout.problems.append(
                "{}: {} are named like parts of a set, and hold no folders of classes; expected "
                "train/CLASS/*.jpg. Sort the images into a folder for each class; if these are the "
                "classes, rename them".format(shown(self._root), listed(named))
            )

    def _refuse_masks(self, here: Inside) -> None:
        """Images and the masks drawn on them, in a folder each, are not classes."""
        contents = {content_of(name) for name in here.folders}
        if {IMAGES, MASKS} <= contents:
            self._layout.problems.append(
                "{}: {} look like images and their masks or labels, not like classes; hpcdl trains "
                "classifiers. Expected a folder for each class; if these are the classes, rename "
                "them".format(shown(self._root), listed(here.folders))
            )

    def _check_classes(self, here: Inside) -> None:
        names: Dict[str, str] = {}
        for name in self._layout.classes:
            other = names.setdefault(alike(name), name)
            if other != name:
                self._layout.problems.append(
                    "{}: the folders {} and {} look the same; they differ in spaces or in how a "
                    "letter is written. Rename one, or join them".format(
                        shown(self._root), ascii(other), ascii(name)
                    )
                )
        if len(self._layout.classes) < 2 and not self._layout.problems:
            self._layout.problems.append(self._too_few(here))

    def _too_few(self, here: Inside) -> str:
        names = listed(self._layout.classes) or "none"
        text = "{}: holds folders of these classes: {}; expected at least 2".format(
            shown(self._root), names
        )
        if not here.folders:
            return "{} (files in it: {:,}). {}".format(
                text, len(here.files), how_to_sort(here.files)
            )
        place = ""
        content = here
        for _ in range(_MOST_LEVELS):
            if len(content.folders) != 1:
                break
            place = os.path.join(place, content.folders[0])
            content = inside(os.path.join(self._root, place))
        if len(content.folders) > 1:
            text += ". Its only folder holds {}: set data.path to {}".format(
                listed(content.folders), shown(os.path.join(self._root, place))
            )
        elif not content.folders and content.files:
            text += ". {}".format(how_to_sort(content.files))
        return text


def _are_parts(named: _Named, others: List[str]) -> bool:
    """Whether folders named like parts are parts, by what they hold and what lies next to them.

    Args:
        named: the folders named like parts.
        others: the folders next to them with other names.
    """
    parts = []
    for folder in named.values():
        if folder.kind != UNLABELLED and folder.content.folders:
            parts.append(folder)
    if not parts:
        return False
    exact = [folder for folder in parts if folder.exact]
    if len(_kinds(parts)) > 1:
        return bool(exact) or not others or _share_folders(parts)
    if exact and others:  # "train" may be a vehicle next to "bus"
        return not any(folder.content.files for folder in exact)
    if exact or len(parts) == 1:
        return not others
    return _share_folders(parts)


def _kinds(folders: Iterable[_PartFolder]) -> Set[str]:
    return {folder.kind for folder in folders}


def _says_the_same(outer: str, inner: str) -> bool:
    """Whether a folder within one named like a part is that part again, and not a class."""
    if inner.lower() in (outer.lower(), "images", "data"):
        return True
    part, inner_part = part_of(outer), part_of(inner)
    if part is None or inner_part is None:
        return False
    return inner_part.exact and inner_part.kind == part.kind


def _share_folders(parts: List[_PartFolder]) -> bool:
    """Whether folders hold folders of mostly the same names."""
    first = set(parts[0].content.folders)
    for part in parts[1:]:
        folders = part.content.folders
        shared = first.intersection(folders)
        if len(shared) < _SHARED_CLASSES * min(len(first), len(folders)):
            return False
    return True


def _part(kind: str, has_test: bool) -> str:
    """Whether images of this kind train or test. Next to a test part, evaluation is validation."""
    if kind == EVALUATION:
        return TRAIN if has_test else TEST
    return TRAIN if kind == VALIDATION else kind
