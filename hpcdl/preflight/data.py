"""The data set of a model job: staged, unchanged since, readable, with labels that teach, and not too large."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.contract import ranges
from hpcdl.contract.spec import CnnSpec
from hpcdl.preflight import Finding, Note, Subject, image_sets
from hpcdl.preflight.arrays import NAMES, look
from hpcdl.staging import how_to_stage
from hpcdl.staging.checksums import read_sums, sums_of

_WHITE = 255
_TENSORFLOW_GB = 0.5  # what it takes itself, at least


def data(subject: Subject) -> Iterator[Finding | Note]:
    """The set is there, is what was staged, and can be trained on."""
    spec = subject.submission.spec
    if spec is None or spec.data.path is None:
        return
    path = Path(spec.data.path)
    if not os.path.exists(path):
        yield _missing(subject, path)
        return
    yield from _two_of_a_name(subject, path)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        yield _finding(
            subject,
            f"you cannot read {path}",
            "see its permissions: ls -lL; data_root is for all to read",
        )
        return
    wrong = list(_changed(subject, path))
    if wrong:
        yield from wrong
        return
    looked = image_sets.look(path, spec.data) if path.is_dir() else None
    if looked is not None:
        for problem, fix in looked.problems:
            yield _finding(subject, f"{path}: {problem}", fix)
        for note in looked.notes:
            yield Note(f"data: {note}")
        if spec.data.image_size:
            yield from _too_small(subject, *spec.data.image_size)
        return
    arrays = look(path)
    problems = [f"{name} {row['wrong']}".strip() for name, row in arrays.items() if "wrong" in row]
    folds = spec.train.cross_validation or 0
    for note in [] if problems else _count_from_zero(arrays):
        yield Note(f"data: {note}")
    problems = problems or [
        *_shapes(arrays),
        *_ranges(arrays),
        *_classes(arrays, spec.data.validation_split, folds),
    ]
    for problem in problems:
        yield _finding(
            subject,
            f"{path}: {problem}",
            "see docs/my-data.md for what a set looks like, and stage it again",
        )
    if not problems:
        yield from _too_small(subject, *(spec.data.image_size or arrays["x_train"]["shape"][1:3]))
        yield from _too_large(subject, arrays)
    for doubt in _doubts(arrays):
        yield replace(_finding(subject, f"{path}: {doubt}", "see docs/my-data.md"), blocks=False)


def _two_of_a_name(subject: Subject, path: Path) -> Iterator[Finding]:
    """A set's name may mean a file and a folder in data_root: which one it is, is said."""
    spec = subject.submission.spec
    name = spec.data.name if spec else None
    if name is None:
        return
    other = path.parent / name
    if other != path and other.is_dir():
        cause = f"{name} is {path} here, and not the folder {other}"
        fix = f"if the folder is meant, name it by its path: data: {{path: {other}}}"
        yield replace(_finding(subject, cause, fix), blocks=False)


def _missing(subject: Subject, path: Path) -> Finding:
    spec = subject.submission.spec
    name = spec.data.name if spec else None
    if name is None:
        return _finding(
            subject, f"there is no {path}", "correct data.path, which is relative to the job file"
        )
    fix = how_to_stage(name, subject.cluster.data_root)
    return _finding(subject, f"{name} is not staged: there is no {path}", fix)


def _changed(subject: Subject, path: Path) -> Iterator[Finding]:
    """The files are those that were staged; a set that was put there by hand has no checksums."""
    sums = sums_of(path)
    for name, digest in read_sums(path).items():
        file = path.parent / name
        if not file.exists():
            yield _finding(
                subject, f"{file} is not there, but was staged ({sums.name})", "stage the set again"
            )
        elif cached_sha256(file) != digest:
            wrong = f"{file} is not the file that was staged: its sha256 is not that in {sums.name}"
            yield _finding(
                subject, wrong, "stage the set again; somebody changed it, or the copy is damaged"
            )


def _shapes(arrays: dict[str, Any]) -> Iterator[str]:
    shapes = {name: arrays[name]["shape"] for name in NAMES}
    for name, shape in shapes.items():
        row = arrays[name]
        if 0 in shape:
            yield f"{name} is empty (shape {_show(shape)})"
        elif name.startswith("x") and not (
            len(shape) == 3 or (len(shape) == 4 and 1 <= shape[3] <= 4)
        ):
            yield f"{name} has shape {_show(shape)}; expected (rows, height, width), or that with 1 to 4 channels"
        elif name.startswith("y") and len(shape) not in (1, 2):
            yield f"{name} has shape {_show(shape)}; expected (rows,), (rows, 1) or one-hot (rows, classes)"
        elif row["kind"] not in ("iufb" if name.startswith("y") else "iuf"):
            yield f"{name} holds no numbers (numpy kind {row['kind']!r})"
    for part in ("train", "test"):
        images, labels = shapes[f"x_{part}"], shapes[f"y_{part}"]
        if images[:1] != labels[:1]:
            yield f"x_{part} has {images[0]} images but y_{part} has {labels[0]} labels"
    if [*shapes["x_train"][1:], 1][:3] != [*shapes["x_test"][1:], 1][:3]:
        yield f"x_test has images of shape {_show(shapes['x_test'][1:])}, x_train of {_show(shapes['x_train'][1:])}"


def _ranges(arrays: dict[str, Any]) -> Iterator[str]:
    """Images that the run would refuse, as far as the first rows show."""
    for name, array in _sampled(arrays):
        if not array["finite"]:
            yield f"{name} holds values that are NaN or infinite; expected numbers"
        elif array["low"] < 0 or array["high"] > _WHITE:
            yield ranges.out_of_range(
                name, f"{array['low']:g}", f"{array['high']:g}", _first(array)
            )


def _doubts(arrays: dict[str, Any]) -> Iterator[str]:
    """What is likely to be a fault of the set, but keeps no job from running."""
    for name, array in _sampled(arrays):
        if (
            array["finite"] and array["low"] >= 0 and 0 < array["high"] <= _WHITE
        ):  # black rows say nothing
            for doubt in ranges.doubts(name, array["high"], array["kind"] == "f"):
                yield f"{doubt} ({_first(array)})"
    yield from ranges.unread(arrays.get("", {}).get("unread", []))


def _sampled(arrays: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("x_train", "x_test"):
        if "sampled" in arrays.get(name, {}):
            yield name, arrays[name]


def _first(array: dict[str, Any]) -> str:
    if array["sampled"] == array["shape"][0]:
        return "all rows"
    return f"the first {array['sampled']:,} of {array['shape'][0]:,} rows"


def _count_from_zero(arrays: dict[str, Any]) -> Iterator[str]:
    """Take labels that all go from 1 as the run does, one less, and say so."""
    labels = [arrays["y_train"], arrays["y_test"]]
    if min(row.get("low", 0) for row in labels) != 1 or not all(row["whole"] for row in labels):
        return
    yield ranges.counted_from_one(int(max(row["high"] for row in labels)))
    for row in labels:
        row.update(low=row["low"] - 1, high=row["high"] - 1)
        if "counts" in row:
            row["counts"] = row["counts"][1:]


def _classes(arrays: dict[str, Any], validation_split: float, folds: int) -> Iterator[str]:
    train, test = arrays["y_train"], arrays["y_test"]
    for name, row in (("y_train", train), ("y_test", test)):
        if "low" not in row:
            return
        if row["low"] < 0 or not row["whole"] or not math.isfinite(row["high"]):
            yield f"{name} goes from {row['low']:g} to {row['high']:g}; expected class numbers 0, 1, 2, …"
            return
    if train["high"] < 1:
        yield "y_train holds class 0 alone; expected at least 2 classes"
    elif 2 * (train["high"] + 1) > train["shape"][0]:
        yield f"y_train has {train['shape'][0]} rows for classes 0 to {train['high']:g}; expected at least 2 of each"
    elif test["high"] > train["high"]:
        yield f"y_test holds class {test['high']:g}; y_train has 0 to {train['high']:g}"
    elif "counts" in train and "counts" in test:
        there = [*test["counts"], *[0] * len(train["counts"])]
        for label, rows in enumerate(train["counts"]):
            off = round(rows * validation_split)
            if rows < 2:
                yield f"y_train has {rows} rows of class {label}; expected at least 2 of each class"
            elif not there[label]:
                yield f"y_test has no row of class {label}; expected some of each class"
            elif rows < folds:
                yield f"y_train has {rows} rows of class {label}; train.cross_validation {folds} needs as many of each"
            elif validation_split and not 0 < off < rows:
                yield f"data.validation_split {validation_split:g} would take {off} of the {rows} rows of class {label}"


def _too_small(subject: Subject, height: int, width: int) -> Iterator[Finding]:
    """Something must be left of the image after every convolution and pooling."""
    model = subject.submission.job.model
    if not isinstance(model, CnnSpec):
        return
    side = min(height, width)
    kernels = (
        model.kernel_size
        if isinstance(model.kernel_size, list)
        else [model.kernel_size] * len(model.filters)
    )
    for layer, kernel in enumerate(kernels, 1):
        if side - kernel + 1 < 2:
            gets = f"convolution {layer} (kernel {kernel}) gets {side}x{side} pixels of them"
            wrong = f"images of {height}x{width} are too small: {gets}"
            yield Finding(wrong, "use fewer filters or a smaller kernel_size", "job", "model")
            return
        side = (side - kernel + 1) // 2


def _too_large(subject: Subject, arrays: dict[str, Any]) -> Iterator[Finding]:
    """The images are in memory twice while TensorFlow takes its own copy, and beside that as they were read."""
    memory_gb = subject.submission.plan.size.memory_gb
    if memory_gb is None:
        return
    kept = read = 0
    for name in ("x_train", "x_test"):
        row = arrays[name]
        count = math.prod(row["shape"])
        kept += count * (4 if row["kind"] == "f" else 1)
        read = max(read, count * row["bytes_each"])
    need_gb = max(2 * kept, kept + read) / 1024**3 + _TENSORFLOW_GB
    if need_gb > memory_gb:
        wrong = f"the data need about {need_gb:.1f} GB of memory, and the job has {memory_gb:g} GB"
        fix = f"ask for more: --set resources.memory_gb={math.ceil(need_gb)}, or store the images as uint8"
        yield Finding(wrong, fix, "job", "resources.memory_gb")


def _show(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "()"


def _finding(subject: Subject, cause: str, fix: str) -> Finding:
    spec = subject.submission.spec
    return Finding(cause, fix, "job", "data.name" if spec and spec.data.name else "data.path")
