"""Finds the TFRecord files in a folder, and the part of the set that each belongs to."""

from __future__ import annotations

import os
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from hpcdl.contract.file_names import EVALUATION, TEST, TRAIN, UNLABELLED, VALIDATION, part_of
from hpcdl.contract.image_walk import inside, listed

# a.tfrecord, a.tfrecords, a.tfrec, set-train.tfrecord-00000-of-00001,
# coco_train.record-00000-of-00100
_ENDING = re.compile(r"[._](tfrecords?|tfrec|tfr)(?![a-z])|\.records?(?![a-z])", re.IGNORECASE)
# ImageNet's train-00000-of-01024
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gz$|$)", re.IGNORECASE)
# TF-slim's flowers_train_00000-of-00005.tfrecord
_NUMBER = re.compile(r"[-_.]?\d+[-_]of[-_]\d+$", re.IGNORECASE)
# Files about the records, and incomplete ones
_ABOUT = re.compile(
    r"\.(json|txt|pbtxt|csv|md|ya?ml|sha256|sha1|md5|index|idx|tfindex|part|crdownload|tmp)$",
    re.IGNORECASE,
)
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class RecordFiles(NamedTuple):
    """The TFRecord files of a folder.

    parts: the paths of ``train`` and perhaps ``test``.
    notes: what people should know.
    problems: why they cannot be used, and what to do about it each time.
    """

    parts: Dict[str, List[str]]
    notes: List[str]
    problems: List[Tuple[str, str]]


def find_records(folder: str) -> Optional[RecordFiles]:
    """Find the TFRecord files in a folder, or in folders within it that are named like parts.

    A file's part is that of its name, or else of its folder's (`file_names.part_of`).

    Returns:
        None if the folder has no such files: it is something else.

    Raises:
        OSError: it cannot be read.
    """
    content = inside(folder)
    by_kind: Dict[Optional[str], List[str]] = {}
    for name in content.files:
        if is_record_file(name):
            by_kind.setdefault(_kind(name), []).append(os.path.join(folder, name))
    if not by_kind:
        for name in content.folders:
            part = part_of(name)
            if part is None:
                continue
            for file_name in inside(os.path.join(folder, name)).files:
                if is_record_file(file_name):
                    by_kind.setdefault(part.kind, []).append(os.path.join(folder, name, file_name))
    return _sorted_out(folder, by_kind) if by_kind else None


def is_record_file(name: str) -> bool:
    """Whether a file's name is like that of a TFRecord file."""
    if _ABOUT.search(name):
        return False
    return bool(_ENDING.search(name) or _SHARD.search(name))


def _kind(name: str) -> Optional[str]:
    """The part that a file is named after, apart from the ending and the shard's number."""
    stem = _NUMBER.sub("", _SHARD.sub("", _ENDING.split(name)[0]))
    part = part_of(stem)
    return None if part is None else part.kind


def _unclear(paths: List[str]) -> List[Tuple[str, str]]:
    """Names with test or validation in the middle: taken for training, they would be learnt."""
    unclear = []
    for path in paths:
        words = re.split(r"[^a-z]+", os.path.basename(path).lower())
        if {"test", "val", "valid", "validation", "eval"} & set(words):
            unclear.append(path)
    if not unclear:
        return []
    return [
        (
            "{} may be of another part than the training".format(_names(unclear)),
            "let the names begin with train or test, or put the files in folders train and test",
        )
    ]


def _sorted_out(folder: str, by_kind: Dict[Optional[str], List[str]]) -> RecordFiles:
    files = RecordFiles({}, [], [])
    if set(by_kind) == {None}:
        files.problems.extend(_unclear(by_kind[None]))
        by_kind = {TRAIN: by_kind[None]}
        files.notes.append(
            "no file's name says train or test: all {:,} are the training part".format(
                len(by_kind[TRAIN])
            )
        )
    for kind, part in ((TRAIN, TRAIN), (VALIDATION, TRAIN), (TEST, TEST), (EVALUATION, TEST)):
        paths = by_kind.get(kind, [])
        if kind == EVALUATION and TEST in by_kind:
            part = TRAIN
        if paths:
            files.parts.setdefault(part, []).extend(sorted(paths))
        if paths and part == TRAIN and kind != TRAIN:
            files.notes.append("{} belong to the training part".format(_names(paths)))
    others = [*by_kind.get(UNLABELLED, []), *by_kind.get(None, [])]
    if others:
        files.notes.append(
            "{} are left out: they are named neither like train nor test".format(_names(others))
        )
    if TRAIN not in by_kind:
        every = [path for paths in by_kind.values() for path in paths]
        files.problems.append(
            (
                "has TFRecord files, but none whose name begins with train; it has {}".format(
                    _names(every)
                ),
                "name them train*.tfrecord and test*.tfrecord, or put them in folders train and "
                "test",
            )
        )
    packed = [path for paths in files.parts.values() for path in paths if _is_compressed(path)]
    if packed:
        files.problems.append(
            (
                "{} are compressed as a whole; records are read from any place in a file".format(
                    _names(packed)
                ),
                "unpack them: gunzip FILE.gz, or write them without compression",
            )
        )
    return files


def _names(paths: List[str]) -> str:
    return listed(sorted(os.path.basename(path) for path in paths))


def _is_compressed(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:  # reported by whoever reads it
        return False
    # A record begins with its length, 8 bytes. One of 40 kB or more may begin like a zlib stream,
    # but the upper bytes of its length are 0.
    return start[:2] == _GZIP or (start[:2] in _ZLIB and start[5:8] != b"\0\0\0")
