"""A folder of images per class: its parts, its classes, and the files of each class.

The trainer, the checks before a job is sent, and ``hpcdl data pack`` all read folders with it.
"""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Set, Tuple

from hpcdl.contract.file_names import (
    EVALUATION,
    IMAGES,
    MASKS,
    TEST,
    TRAIN,
    UNLABELLED,
    VALIDATION,
    PartName,
    alike,
    content_of,
    how_to_sort,
    part_of,
    shown,
)
from hpcdl.contract.image_walk import Inside, inside, listed, nowhere

_FOLDERS_DEEP = 4  # how far a folder that holds nothing but one folder is followed
_SAME = 0.5  # parts share at least this much of their classes


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

    Folders named like parts (`filenames.part_of`) that hold folders are parts: they are used as
    such, or `Layout.problems` says why not. They are never taken for classes in silence. A folder
    named like a part that holds images, next to classes that do the same, is a class.

    Raises:
        OSError: a folder cannot be read.
    """
    return _Reader(root).layout()


class _Reader:
    """Reads the layout of one folder."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._found = Layout({}, [], [], [], [], [])

    def layout(self) -> Layout:
        here = self._look("")
        held = {}
        for name in here.folders:
            part = part_of(name)
            if part is not None:
                held[name] = (part, inside(os.path.join(self._root, name)))
        others = [name for name in here.folders if name not in held]
        classes: Set[str] = set()
        if _are_parts(held, others):
            self._find_parts(held, others)
            folders = {place: self._look(place).folders for place in self._found.tops}
            for names in folders.values():
                classes.update(names)
            self._refuse_classes_of_validation_alone(folders)
        else:
            self._found.tops[""] = TRAIN
            self._refuse_parts_without_classes(held, others)
            self._refuse_masks(here)
            classes.update(here.folders)
        self._found.classes.extend(sorted(classes))
        self._check_classes(here)
        return self._found

    def _look(self, place: str) -> Inside:
        """List a folder that holds classes' folders; files in it belong to no class."""
        content = inside(os.path.join(self._root, place))
        self._found.loose.extend(os.path.join(place, name) for name in content.files)
        for name in content.dangling:
            path = os.path.join(self._root, place, name)
            self._found.problems.append("{} {}".format(shown(path), nowhere(path)))
        return content

    def _find_parts(self, held: Dict[str, Tuple[PartName, Inside]], others: List[str]) -> None:
        tests = any(part.kind == TEST for part, _ in held.values())
        used = {}
        for name, (part, content) in held.items():
            if part.kind == UNLABELLED:
                self._found.notes.append(
                    "{}: left out, its images have no class".format(shown(name))
                )
                continue
            used[name] = _part(part.kind, tests)
            if part.kind == VALIDATION or (part.kind == EVALUATION and tests):
                self._found.joined.append(name)
            place, content = self._below_double(name, content)
            if content.folders:
                self._found.tops[place] = used[name]
            else:
                self._found.problems.append(self._no_classes(place, content))
        if others:
            self._found.problems.append(
                "{}: has {} as parts of the set; what are {} next to them? Move them out of this "
                "folder, or set data.path to the folder with the training images; if all are "
                "classes, rename those that are named like parts".format(
                    shown(self._root), listed(used), listed(others)
                )
            )
        self._check_kinds(held, used, others)
        renamed = [
            name for name in used if name.lower() != used[name] and name not in self._found.joined
        ]
        if renamed:
            says = ["{} is the {} part".format(shown(name), used[name]) for name in renamed]
            self._found.notes.append(", ".join(says))

    def _check_kinds(
        self, held: Dict[str, Tuple[PartName, Inside]], used: Dict[str, str], others: List[str]
    ) -> None:
        if all(held[name][0].kind != TRAIN for name in used):
            self._found.problems.append(
                "{}: has {} but no train folder; call the folder of the training images train".format(
                    shown(self._root), listed(used)
                )
            )
        loose = [name for name in used if not held[name][0].exact]
        if (
            len(loose) > 1
            and len(set(used.values())) == 1
            and not others
            and not self._found.joined
        ):
            self._found.problems.append(
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
        """Folders that validation parts hold and training parts lack: ``val/images`` is no class."""
        joined = set(self._found.joined)
        own: Set[str] = set()
        for place, part in self._found.tops.items():
            if part == TRAIN and place.split("/")[0] not in joined:
                own.update(folders[place])
        for place, names in folders.items():
            extra = [name for name in names if name not in own]
            if place.split("/")[0] in joined and own and extra:
                self._found.problems.append(
                    "{}: holds {}, of which the training part has no folder; every class needs "
                    "images to train on. Sort them into the classes' folders, or move this folder "
                    "away".format(shown(os.path.join(self._root, place)), listed(extra))
                )

    def _refuse_parts_without_classes(
        self, held: Dict[str, Tuple[PartName, Inside]], others: List[str]
    ) -> None:
        """Folders of several parts that hold their images directly: the classes are not known."""
        kinds = set()
        for part, _ in held.values():
            if part.kind != UNLABELLED and (part.exact or not others):
                kinds.add(part.kind)
        if len(kinds) > 1:
            self._found.problems.append(
                "{}: {} are named like parts of a set, and hold no folders of classes; expected "
                "train/CLASS/*.jpg. Sort the images into a folder for each class; if these are the "
                "classes, rename them".format(shown(self._root), listed(held))
            )

    def _refuse_masks(self, here: Inside) -> None:
        """Images and what is drawn on them, in a folder each: they are no classes."""
        contents = {content_of(name) for name in here.folders}
        if {IMAGES, MASKS} <= contents:
            self._found.problems.append(
                "{}: {} look like images and their masks or labels, not like classes; hpcdl trains "
                "classifiers. Expected a folder for each class; if these are the classes, rename "
                "them".format(shown(self._root), listed(here.folders))
            )

    def _check_classes(self, here: Inside) -> None:
        names: Dict[str, str] = {}
        for name in self._found.classes:
            other = names.setdefault(alike(name), name)
            if other != name:
                self._found.problems.append(
                    "{}: the folders {} and {} look the same; they differ in spaces or in how a "
                    "letter is written. Rename one, or join them".format(
                        shown(self._root), ascii(other), ascii(name)
                    )
                )
        if len(self._found.classes) < 2 and not self._found.problems:
            self._found.problems.append(self._too_few(here))

    def _too_few(self, here: Inside) -> str:
        names = listed(self._found.classes) or "none"
        text = "{}: holds folders of these classes: {}; expected at least 2".format(
            shown(self._root), names
        )
        if not here.folders:
            return "{} (files in it: {:,}). {}".format(
                text, len(here.files), how_to_sort(here.files)
            )
        place = ""
        content = here
        for _ in range(_FOLDERS_DEEP):
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


def _are_parts(held: Dict[str, Tuple[PartName, Inside]], others: List[str]) -> bool:
    """Whether folders named like parts are parts, by what they hold and what lies next to them.

    Args:
        held: the folders named like parts: what the name says, what lies in it.
        others: the folders next to them with other names.
    """
    names = [
        name
        for name, (part, content) in held.items()
        if part.kind != UNLABELLED and content.folders
    ]
    exact = [name for name in names if held[name][0].exact]
    kinds = {held[name][0].kind for name in names}
    if not names:
        return False
    if len(kinds) > 1:
        return bool(exact) or not others or _share_folders([held[name][1] for name in names])
    if exact and others:  # "train" may be a vehicle next to "bus"
        return not any(held[name][1].files for name in exact)
    if exact or len(names) == 1:
        return not others
    return _share_folders([held[name][1] for name in names])


def _says_the_same(outer: str, inner: str) -> bool:
    """Whether a folder within one named like a part is that part again, and no class."""
    if inner.lower() in (outer.lower(), "images", "data"):
        return True
    part, inner_part = part_of(outer), part_of(inner)
    if part is None or inner_part is None:
        return False
    return inner_part.exact and inner_part.kind == part.kind


def _share_folders(contents: List[Inside]) -> bool:
    """Whether folders hold folders of mostly the same names."""
    first = set(contents[0].folders)
    for content in contents[1:]:
        same = first & set(content.folders)
        if len(same) < _SAME * min(len(first), len(content.folders)):
            return False
    return True


def _part(kind: str, has_test: bool) -> str:
    """Whether images of this kind train or test. Next to a test part, evaluation is validation."""
    if kind == EVALUATION:
        return TRAIN if has_test else TEST
    return TRAIN if kind == VALIDATION else kind
