"""Lists folders of images: the content of one, and all files of a class. Links are followed."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

from hpcdl.contract.file_names import (
    UNLABELLED,
    is_about_images,
    is_piece,
    is_system,
    part_of,
    shown,
)

_SHOWN = 5  # names in a message
_CIRCLE = "{}: leads back to a folder above it; remove this link"


class Inside(NamedTuple):
    """The content of a folder, sorted by name.

    folders: also links to folders.
    files: all other entries.
    dangling: links whose target does not exist.
    """

    folders: List[str]
    files: List[str]
    dangling: List[str]


def inside(path: str) -> Inside:
    """List a folder without the files and folders of the system.

    Raises:
        OSError: it cannot be read.
    """
    content = Inside([], [], [])
    with os.scandir(path) as entries:
        for entry in entries:
            if is_system(entry.name):
                continue
            if is_folder(entry):
                content.folders.append(entry.name)
            elif leads_nowhere(entry):
                content.dangling.append(entry.name)
            else:
                content.files.append(entry.name)
    for names in content:
        names.sort()
    return content


def is_folder(entry: os.DirEntry[Any]) -> bool:
    """Whether an entry is a folder, or a link to one; links that lead to each other are not."""
    try:
        return entry.is_dir()
    except OSError:
        if entry.is_symlink():
            return False
        raise


def leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a link whose target does not exist."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def nowhere(path: str) -> str:
    """What is wrong with a link whose target does not exist."""
    return "is a link to {}, which does not exist".format(shown(os.readlink(path)))


def listed(names: Iterable[str]) -> str:
    """The first few of some names."""
    every = [shown(name) for name in names]
    text = ", ".join(every[:_SHOWN])
    more = len(every) - _SHOWN
    if more > 0:
        text += " and {:,} more".format(more)
    return text


class Walker:
    """Lists the files of classes' folders, also in folders below them. Links are followed.

    Args:
        root: the folder of images.

    Attributes:
        root: as it was given.
        problems: links that lead back to a folder above them, and what `check_classes` adds.
        notes: what people should know.
        about: files that describe the images, such as ``GT-00000.csv``: they are left out.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.problems: List[str] = []
        self.notes: List[str] = []
        self.about: List[str] = []
        self._real_root = os.path.realpath(root)
        self._class = ""
        self._places: Dict[Tuple[int, int], str] = {}
        self._folders: Dict[str, List[str]] = {}

    def files(self, place: str) -> Iterator[Tuple[str, os.DirEntry[str]]]:
        """The files below a class's folder: the path below the root, and the entry.

        Those of a folder come before those of the folders in it, both sorted by name. Links whose
        target does not exist are among them: see `leads_nowhere`.

        Raises:
            OSError: a folder cannot be read.
        """
        self._class = place
        return self._below(place, ())

    def _below(self, place: str, above: Tuple[str, ...]) -> Iterator[Tuple[str, os.DirEntry[str]]]:
        path = os.path.join(self.root, place)
        stat = os.stat(path)
        earlier = self._places.setdefault((stat.st_dev, stat.st_ino), place)
        # Some file systems give different folders the same number, so that the paths decide
        if earlier != place and os.path.realpath(
            os.path.join(self.root, earlier)
        ) == os.path.realpath(path):
            if earlier in above:
                self.problems.append(_CIRCLE.format(shown(path)))
                return
            self._same_folder(earlier, place)
        with os.scandir(path) as entries:
            visible = [entry for entry in entries if not is_system(entry.name)]
        folders = []
        for entry in sorted(visible, key=_name):
            if not is_folder(entry) and is_about_images(entry.name):
                self.about.append("{}/{}".format(place, entry.name))
            elif not is_folder(entry):
                yield "{}/{}".format(place, entry.name), entry
            elif entry.is_symlink() and self._holds_root(entry.path):
                self.problems.append(_CIRCLE.format(shown(entry.path)))
            else:
                folders.append(entry.name)
        if not above:
            self._folders[place] = folders
        for name in folders:
            yield from self._below("{}/{}".format(place, name), (*above, place))

    def _holds_root(self, link: str) -> bool:
        """Whether a link leads to the folder of images itself, or to one above it."""
        target = os.path.realpath(link)
        return os.path.commonpath([target, self._real_root]) == target

    def _same_folder(self, place: str, again: str) -> None:
        """Say that two paths lead to one folder: within a class a note, else a problem."""
        text = "{} and {} are the same folder: ".format(shown(place), shown(again))
        if again.startswith(self._class + "/") and (place + "/").startswith(self._class + "/"):
            self.notes.append(text + "its images are used twice")
        else:
            self.problems.append(
                text + "its images would be in two parts or classes; remove one of the links"
            )

    def check_classes(self) -> None:
        """Look at the folders within the classes' folders, after all files were listed.

        Parts below classes (``cat/train``, ``cat/test``) would be mixed: a problem. Folders of the
        same names in all classes may be parts in another language: a note.
        """
        if self.about:
            self.notes.append(
                "files next to images that are not images are left out ({:,}): {}".format(
                    len(self.about), listed(self.about)
                )
            )
        mixed = [place for place, folders in self._folders.items() if len(_kinds(folders)) > 1]
        if mixed:
            kinds = " and ".join(sorted(_kinds(self._folders[mixed[0]])))
            self.problems.append(
                "{}: {} hold folders of {} images, which would be mixed; expected the parts above "
                "the classes: train/CLASS, test/CLASS. If they are separate sets, set data.path to "
                "one".format(shown(self.root), listed(mixed), kinds)
            )
            return
        self._refuse_copies()
        self._check_pieces()

    def _refuse_copies(self) -> None:
        """A class's folder that holds folders named like several other classes."""
        for place, folders in self._folders.items():
            siblings = {os.path.basename(other) for other in self._folders if other != place}
            copies = [name for name in folders if name in siblings]
            if len(copies) > 1:
                self.problems.append(
                    "{}: holds folders of the same names as the classes next to it ({}); if it is "
                    "a copy of them, move it away".format(
                        shown(os.path.join(self.root, place)), listed(copies)
                    )
                )

    def _check_pieces(self) -> None:
        """Classes that all hold the same folders: pieces of a set, or parts of another language."""
        contents = {tuple(folders) for folders in self._folders.values()}
        if len(contents) != 1 or len(self._folders) < 2:
            return
        folders = list(contents.pop())
        if len(folders) < 2:
            return
        if all(is_piece(os.path.basename(place)) for place in self._folders):
            self.problems.append(
                "{}: {} are named like pieces of a set, and all hold {}; expected the classes' "
                "folders. Join them, or set data.path to one".format(
                    shown(self.root), listed(self._folders), listed(folders)
                )
            )
            return
        self.notes.append(
            "the classes are {}; each holds the folders {}. If these are the classes, put train "
            "and test above them".format(listed(self._folders), listed(folders))
        )


def _kinds(folders: List[str]) -> Set[str]:
    """The kinds of parts among folders, by names that mean nothing else."""
    kinds = set()
    for name in folders:
        part = part_of(name)
        if part is not None and part.exact and part.kind != UNLABELLED:
            kinds.add(part.kind)
    return kinds


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
