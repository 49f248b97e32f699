"""Lists a folder of images per class: which files each part and each class holds."""

from __future__ import annotations

import os
from typing import Dict, Iterator, List, NamedTuple, Optional

from hpcdl.contract.file_names import TEST, TRAIN, shown
from hpcdl.contract.image_heads import Head, one_size, read_head, read_heads
from hpcdl.contract.image_tree import Layout, read_layout
from hpcdl.contract.image_walk import Walker, inside, leads_nowhere, listed, nowhere

__all__ = ["Folder", "Head", "Listing", "list_folder", "one_size", "read_head", "read_heads"]

KINDS = (".jpg", ".jpeg", ".png")
SHOWN = 10  # problems in a message


class Listing(NamedTuple):
    """The image files of one part: paths, and the class number of each, from 0."""

    paths: List[str]
    labels: List[int]


class Folder(NamedTuple):
    """A folder of images per class.

    classes: the names of the classes' folders; a name's place is the class's number.
    parts: the images of ``train`` and perhaps ``test``.
    problems: why it cannot be used.
    notes: what people should know.
    """

    classes: List[str]
    parts: Dict[str, Listing]
    problems: List[str]
    notes: List[str]


def list_folder(folder: str) -> Optional[Folder]:
    """List a folder of images per class: a folder for each, or such folders below those of parts.

    `hpcdl.contract.image_tree.read_layout` tells what the folders' names mean. The images of a
    validation folder belong to the training part, of which data.validation_split takes its share.

    Returns:
        None if the folder holds neither folders nor images: it is something else.

    Raises:
        OSError: it cannot be read.
    """
    here = inside(folder)
    images = [name for name in here.files if name.lower().endswith(KINDS)]
    if not (here.folders or here.dangling or images):
        return None
    layout = read_layout(folder)
    problems, notes = list(layout.problems), list(layout.notes)
    for name in layout.joined:
        notes.append("{}: its images belong to the training part".format(shown(name)))
    loose = [name for name in layout.loose if name.lower().endswith(KINDS)]
    if loose:
        notes.append(
            "images that lie in no class's folder are left out ({:,}): {}".format(
                len(loose), listed(loose)
            )
        )
    walker = Walker(folder)
    parts = {}
    for part in (TRAIN, TEST):
        if part in layout.tops.values():
            parts[part] = _list_part(part, layout, walker, problems)
    walker.check_classes()
    return Folder(layout.classes, parts, problems + walker.problems, notes + walker.notes)


def _list_part(part: str, layout: Layout, walker: Walker, problems: List[str]) -> Listing:
    """The images of one part.

    Args:
        part: ``train`` or ``test``.
        layout: of the folder.
        walker: of the folder.
        problems: added to.
    """
    listing = Listing([], [])
    tops = [top for top, its_part in layout.tops.items() if its_part == part]
    for label, name in enumerate(layout.classes):
        paths: List[str] = []
        is_there = False
        for top in tops:
            place = os.path.join(top, name)
            if os.path.isdir(os.path.join(walker.root, place)):
                is_there = True
                paths += _images(place, walker, problems)
        if not paths:
            first = os.path.join(walker.root, tops[0], name)
            problems.append(_no_images(first, is_there, layout.classes))
        listing.paths.extend(paths)
        listing.labels.extend([label] * len(paths))
    return listing


def _images(place: str, walker: Walker, problems: List[str]) -> Iterator[str]:
    """The paths of the images in a class's folder and below it."""
    for file_name, entry in walker.files(place):
        path = os.path.join(walker.root, file_name)
        if leads_nowhere(entry):
            problems.append("{}: {}".format(shown(path), nowhere(path)))
        elif file_name.lower().endswith(KINDS):
            yield path
        else:
            problems.append(
                "{}: is not a .jpg, .jpeg or .png file (hpcdl data pack converts others)".format(
                    shown(path)
                )
            )


def _no_images(path: str, is_there: bool, classes: List[str]) -> str:
    name = os.path.basename(path)
    if is_there:
        return "{}: holds no images; expected some of class {}".format(shown(path), shown(name))
    text = "{}: does not exist; every part needs a folder with images of class {}".format(
        shown(path), shown(name)
    )
    for other in classes:
        if other != name and other.lower() == name.lower():
            return "{} (is it {}? Give it one name)".format(text, shown(other))
    return text
