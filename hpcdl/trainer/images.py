"""A folder of images per class: which files are there, and how their content is decoded.

The checks before a job is sent use it as well: numpy and tensorflow are not imported here.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from hpcdl.trainer.filenames import TEST, TRAIN, shown
from hpcdl.trainer.heads import Head, one_size, read_head, read_heads
from hpcdl.trainer.imagetree import Layout, read_layout
from hpcdl.trainer.imagewalk import Walker, inside, leads_nowhere, listed, nowhere

__all__ = ["Folder", "Head", "Listing", "decode", "list_folder", "one_size", "read_head", "read_heads"]

KINDS = (".jpg", ".jpeg", ".png")
SHOWN = 10  # problems named in a message


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

    What the folders' names mean is said in `imagetree.read_layout`. The images of a validation
    folder belong to the training part, of which data.validation_split takes its share.

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
        notes.append("images that lie in no class's folder are left out ({:,}): {}".format(len(loose), listed(loose)))
    walker = Walker(folder)
    parts = {}
    for part in (TRAIN, TEST):
        if part in layout.tops.values():
            parts[part] = _list_part(folder, part, layout, walker, problems)
    walker.check_classes()
    return Folder(layout.classes, parts, problems + walker.problems, notes + walker.notes)


def _list_part(folder: str, part: str, layout: Layout, walker: Walker, problems: List[str]) -> Listing:
    listing = Listing([], [])
    tops = [top for top, of in layout.tops.items() if of == part]
    for number, name in enumerate(layout.classes):
        before = len(listing.paths)
        places = [os.path.join(top, name) for top in tops]
        places = [place for place in places if os.path.isdir(os.path.join(folder, place))]
        for place in places:
            for file_name, entry in walker.files(place):
                path = os.path.join(folder, file_name)
                if leads_nowhere(entry):
                    problems.append("{}: {}".format(shown(path), nowhere(path)))
                elif file_name.lower().endswith(KINDS):
                    listing.paths.append(path)
                    listing.labels.append(number)
                else:
                    problems.append(
                        "{}: is no .jpg, .jpeg or .png file (hpcdl data pack converts others)".format(shown(path))
                    )
        if len(listing.paths) == before:
            problems.append(_no_images(os.path.join(folder, tops[0], name), bool(places), layout.classes))
    return listing


def _no_images(path: str, is_there: bool, classes: List[str]) -> str:
    name = os.path.basename(path)
    if is_there:
        return "{}: holds no images; expected some of class {}".format(shown(path), shown(name))
    text = "{}: is not there; every part needs a folder with images of class {}".format(shown(path), shown(name))
    others = [other for other in classes if other != name and other.lower() == name.lower()]
    if others:
        text += " (is it {}? Give it one name)".format(shown(others[0]))
    return text


def decode(content: Any, orientation: Any, shape: Tuple[int, ...], resizes: bool = True) -> Any:
    """In a graph: one file's content as a uint8 image of `shape`, upright and resized.

    Args:
        content: a JPEG's or PNG's bytes, a scalar string tensor.
        orientation: EXIF's, a scalar tensor; None where all images are upright.
        resizes: whether some of the images have another size.
    """
    import tensorflow as tf

    image = _pixels(content, shape[2])
    if orientation is not None:
        image = tf.switch_case(tf.cast(orientation, tf.int32) - 1, [_turned(image, number) for number in range(1, 9)])
        image.set_shape([None, None, shape[2]])

    if not resizes:
        return tf.ensure_shape(image, shape)

    def resized() -> Any:
        return tf.cast(tf.round(tf.image.resize(image, shape[:2], antialias=True)), tf.uint8)

    same = tf.reduce_all(tf.shape(image)[:2] == shape[:2])
    return tf.ensure_shape(tf.cond(same, lambda: image, resized), shape)


def _pixels(content: Any, channels: int) -> Any:
    """The uint8 pixels of a JPEG or PNG. libjpeg makes no grey of four inks: they become RGB first."""
    import tensorflow as tf

    def decoded(wanted: int) -> Any:  # reads PNG as well
        return tf.io.decode_jpeg(content, channels=wanted, dct_method="INTEGER_ACCURATE")

    if channels != 1:
        return decoded(channels)

    def has_four_inks() -> Any:
        return tf.equal(tf.io.extract_jpeg_shape(content)[2], 4)

    is_jpeg = tf.equal(tf.strings.substr(content, 0, 3), b"\xff\xd8\xff")
    four_inks = tf.cond(is_jpeg, has_four_inks, lambda: tf.constant(False))
    image = tf.cond(four_inks, lambda: tf.image.rgb_to_grayscale(decoded(3)), lambda: decoded(1))
    image.set_shape([None, None, 1])
    return image


def _turned(image: Any, orientation: int) -> Any:
    """What shows an image upright: orientations 5 to 8 are transposed, then some are mirrored."""
    import tensorflow as tf

    def upright() -> Any:
        turned = tf.transpose(image, [1, 0, 2]) if orientation > 4 else image
        axes = {2: [1], 3: [0, 1], 4: [0], 6: [1], 7: [0, 1], 8: [0]}.get(orientation, [])
        return tf.reverse(turned, axes) if axes else turned

    return upright
