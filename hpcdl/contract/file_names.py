"""What names of files and folders mean: system files, parts of a set; and names as text."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import List, NamedTuple, Optional

# Folders and files that systems, network storage and desktops leave. Compared in lower case. The
# trainer, `hpcdl check` and `hpcdl data pack` leave out the same ones.
_SYSTEM = frozenset(
    (
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "_ds_store", "picasa.ini",
        "zbthumbnail.info", "icon\r", "__macosx", "network trash folder", "temporary items",
        "thevolumesettingsfolder", "$recycle.bin", "recycler", "recycled", "found.000",
        "system volume information", "lost+found", "aquota.user", "aquota.group", "@eadir", "@tmp",
        "@__thumb",
        "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot", "~snapshot",
        "__pycache__",
    )
)  # fmt: skip
# Hidden files, also as netatalk writes them; and lock files of office programs
_SYSTEM_STARTS = (".", ":2e", "~$")
_SYSTEM_ENDS = (":zone.identifier", "@synoeastream", "@synoresource")

_ABOUT_IMAGES = (".csv", ".tsv", ".txt", ".xml", ".json", ".md", ".html", ".yaml", ".yml", ".log")

_NAMED_AFTER_CLASS = re.compile(r"([A-Za-z][A-Za-z_]*?)[._-]\d+\.\w+")
_MOST_CLASSES = 20

TRAIN, VALIDATION, TEST, EVALUATION = "train", "validation", "test", "evaluation"
UNLABELLED = "unlabelled"
_WORDS = {
    TRAIN: "train training trn trainval trainvalid entrenamiento entrenament entreno treino"
    " treinamento apprentissage entrainement addestramento trainings",
    VALIDATION: "val valid validation validate dev develop development validacion validacio"
    " validacao validierung validierungs",
    TEST: "test testing tests tst holdout prueba pruebas prova teste testes",
    EVALUATION: "eval evaluation evaluacion",
    UNLABELLED: "pred predict prediction predictions inference infer unlabeled unlabelled",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
# Words next to those that do not tell the part: train_images, TestSet, data_val
_FILLERS = (
    "set", "sets", "data", "daten", "dataset", "datasets", "image", "images", "img", "imgs",
    "photo", "photos", "pic", "pics", "picture", "pictures", "jpg", "jpeg", "jpegs", "png", "split",
    "folder", "folders", "dir", "file", "files", "sample", "samples",
)  # fmt: skip
_PIECES = ("fold", "folds", "split", "part", "parts", "subset", "partition", "chunk")
IMAGES, MASKS = "images", "masks"
_CONTENTS = {
    IMAGES: ("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
    MASKS: (
        "mask", "masks", "label", "labels", "annotation", "annotations", "groundtruth", "gt",
        "segmentation", "segmentations", "trimap", "trimaps",
    ),
}  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")


class PartName(NamedTuple):
    """The part of a set that a name means.

    Args:
        kind: `TRAIN`, `VALIDATION`, `TEST`, `EVALUATION` or `UNLABELLED`.
        exact: whether the name means nothing else: so with ``train_images``, but not with
            ``bullet_train``.
    """

    kind: str
    exact: bool


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or was left by a system, storage or desktop."""
    lower = name.lower()
    return lower in _SYSTEM or lower.startswith(_SYSTEM_STARTS) or lower.endswith(_SYSTEM_ENDS)


def is_about_images(name: str) -> bool:
    """Whether a file next to images describes them.

    Examples: ``GT-00000.csv`` of GTSRB, ``n01443537_boxes.txt``.
    """
    return name.lower().endswith(_ABOUT_IMAGES)


def how_to_sort(files: List[str]) -> str:
    """What to do with images that lie in one folder.

    Their names may tell the classes, as with Kaggle's ``cat.0.jpg`` and ``dog.0.jpg``.
    """
    named = [_NAMED_AFTER_CLASS.fullmatch(name) for name in files]
    classes = sorted({match[1] for match in named if match})
    text = "Sort the images into a folder for each class"
    if not all(named) or not 1 < len(classes) <= _MOST_CLASSES:
        return text
    first = classes[0]
    return "{}: their names begin with {}; for the first: mkdir {} && mv {}[._-]* {}/".format(
        text, ", ".join(classes), first, first, first
    )


def part_of(name: str) -> Optional[PartName]:
    """The part of a set that a folder (or a file without its ending) is named after.

    The name begins or ends with one of the words, in any case: ``train``, ``TestSet``,
    ``seg_train``, ``val2017``, ``trainA``, ``single_prediction``.

    Returns:
        None if the name is not like that of a part.
    """
    words = [word for word in _words(name) if not _is_filler(word)]
    if not words:
        return None
    kinds = {_kind(words[0]), _kind(words[-1])} - {None}
    if kinds == {TRAIN, VALIDATION}:  # train_val: both are for training
        kinds = {TRAIN}
    if len(kinds) != 1:
        return None
    exact = all(_kind(word) for word in words)
    return PartName(str(kinds.pop()), exact)


def is_piece(name: str) -> bool:
    """Whether a folder is named like one of several pieces of a set: ``fold1``, ``split_a``."""
    words = [word for word in _words(name) if not _is_filler(word) or word in _PIECES]
    return bool(words) and all(word in _PIECES for word in words)


def content_of(name: str) -> Optional[str]:
    """Whether a folder is named after what it holds: `IMAGES`, or `MASKS` drawn on them."""
    word = name.lower().replace("_", "").replace("-", "")
    for content, words in _CONTENTS.items():
        if word in words:
            return content
    return None


def _words(name: str) -> List[str]:
    """The words of a name, in lower case and without accents."""
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return [word.lower() for word in _WORD.findall(plain)]


def _is_filler(word: str) -> bool:
    return word in _FILLERS or word.isdigit() or len(word) == 1


def _kind(word: str) -> Optional[str]:
    if word in _KINDS:
        return _KINDS[word]
    for filler in _FILLERS:  # written as one word: trainset, testdata
        start = word[: -len(filler)]
        if word.endswith(filler) and start in _KINDS:
            return _KINDS[start]
    return None


def shown(name: str) -> str:
    """A name or path as text that can be printed and stored.

    Bytes that are not UTF-8 and characters that move the cursor become escapes such as ``\\xe4``.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def alike(name: str) -> str:
    """A form that names which look the same share: composed letters, no spaces around them."""
    return unicodedata.normalize("NFC", name).strip()
