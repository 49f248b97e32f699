"""The data set of a model job: staged, unchanged, readable, with good labels, not too large."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hpcdl.cache import cached_sha256
from hpcdl.contract import array_rules, ranges
from hpcdl.contract.array_heads import NAMES
from hpcdl.contract.checks import check_fit
from hpcdl.contract.spec import RunSpec, SpecError
from hpcdl.preflight import Finding, Note, Subject, image_sets
from hpcdl.preflight.arrays import Facts, look
from hpcdl.staging import how_to_stage
from hpcdl.staging.checksums import read_sums, sums_of

_WHITE = 255
_TENSORFLOW_GB = 0.5  # what it takes itself, at least
_GUIDE = "see docs/my-data.md for what a set looks like, and stage it again"


def data(subject: Subject) -> Iterator[Finding | Note]:
    """The set exists, is what was staged, and can be trained on."""
    spec = subject.submission.spec
    if spec is None or spec.data.path is None:
        return
    path = Path(spec.data.path)
    if str(path) in subject.submission.made_before:
        yield Note(f"data: {path} is made by a step before; the node looks at it")
        return
    if not os.path.exists(path):
        yield _missing(subject, path)
        return
    yield from _two_of_a_name(subject, path)
    rights = os.R_OK
    if path.is_dir():
        rights |= os.X_OK
    if not os.access(path, rights):
        fix = "see its permissions: ls -lL; data_root is for all to read"
        yield _finding(subject, f"you cannot read {path}", fix)
        return
    changes = list(_changed(subject, path))
    if changes:
        yield from changes
        return
    if path.is_dir():
        answer = subject.images_in_files
        if answer is not None:
            yield from _of_images(subject, spec, path, answer)
            return
    yield from _of_arrays(subject, spec, path)


def _of_images(
    subject: Subject, spec: RunSpec, path: Path, answer: image_sets.Looked
) -> Iterator[Finding | Note]:
    """What a look at images in files gave."""
    for problem, fix in answer.problems:
        yield _finding(subject, f"{path}: {problem}", fix)
    for note in answer.notes:
        yield Note(f"data: {note}")
    if spec.data.image_size:
        yield from _too_small(spec, *spec.data.image_size)


def _of_arrays(subject: Subject, spec: RunSpec, path: Path) -> Iterator[Finding | Note]:
    """What the arrays of a set show."""
    arrays = {name: dict(facts) for name, facts in look(path).items()}  # labels may be lowered
    problems = []
    for name, facts in arrays.items():
        if "wrong" in facts:
            start = f"{name}: " if name else ""
            problems.append(f"{start}{facts['wrong']}")
    if not problems:
        problems = [*_heads(arrays), *_ranges(arrays)]
        for note in _count_from_zero(arrays):
            yield Note(f"data: {note}")
        problems += _classes(arrays, spec)
    for problem in problems:
        yield _finding(subject, f"{path}: {problem}", _GUIDE)
    if not problems:
        height, width = spec.data.image_size or arrays["x_train"]["shape"][1:3]
        yield from _too_small(spec, height, width)
        yield from _too_large(subject, arrays)
    for doubt in _doubts(arrays):
        finding = _finding(subject, f"{path}: {doubt}", "see docs/my-data.md")
        yield replace(finding, blocks=False)


def _two_of_a_name(subject: Subject, path: Path) -> Iterator[Finding]:
    """Say which one is used if a set's name means both a file and a folder in data_root."""
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
        fix = "correct data.path, which is relative to the job file"
        return _finding(subject, f"there is no {path}", fix)
    fix = how_to_stage(name, subject.cluster.data_root)
    return _finding(subject, f"{name} is not staged: there is no {path}", fix)


def _changed(subject: Subject, path: Path) -> Iterator[Finding]:
    """The files that are not those that were staged; a set put there by hand has no checksums."""
    sums = sums_of(path)
    for name, digest in read_sums(path).items():
        file = path.parent / name
        if not file.exists():
            cause = f"{file} is missing, but was staged ({sums.name})"
            yield _finding(subject, cause, "stage the set again")
        elif cached_sha256(file) != digest:
            cause = f"{file} is not the file that was staged: its sha256 is not that in {sums.name}"
            fix = "stage the set again; somebody changed it, or the copy is damaged"
            yield _finding(subject, cause, fix)


def _heads(arrays: dict[str, Facts]) -> Iterator[str]:
    """What the arrays' shapes and types show."""
    for name in NAMES:
        facts = arrays[name]
        check = array_rules.wrong_images if name.startswith("x") else array_rules.wrong_labels
        problem = check(name, facts["shape"], facts["kind"], facts["dtype"])
        if problem:
            yield problem
        elif not facts.get("one_hot", True):
            yield array_rules.not_one_hot(name, facts["shape"])
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"]["shape"], arrays[f"y_{part}"]["shape"]
        if images and labels:
            problem = array_rules.wrong_counts(part, images[0], labels[0])
            yield from [problem] if problem else []
    train, test = arrays["x_train"]["shape"], arrays["x_test"]["shape"]
    problem = array_rules.wrong_test_size(train[1:], test[1:])
    if problem:
        yield problem


def _ranges(arrays: dict[str, Facts]) -> Iterator[str]:
    """Images that the run would refuse, as far as the first rows show."""
    for name, facts in _sampled(arrays):
        if not facts["finite"]:
            yield f"{name} holds values that are NaN or infinite; expected numbers"
        elif facts["low"] < 0 or facts["high"] > _WHITE:
            low, high = f"{facts['low']:g}", f"{facts['high']:g}"
            yield ranges.out_of_range(name, low, high, _first(facts))


def _doubts(arrays: dict[str, Facts]) -> Iterator[str]:
    """What is likely to be a fault of the set, but keeps no job from running."""
    for name, facts in _sampled(arrays):
        # nothing is known of black rows
        if facts["finite"] and facts["low"] >= 0 and 0 < facts["high"] <= _WHITE:
            for doubt in ranges.doubts(name, facts["high"], facts["kind"] == "f"):
                yield f"{doubt} ({_first(facts)})"
    yield from ranges.unread(arrays.get("", {}).get("unread", []))


def _sampled(arrays: dict[str, Facts]) -> Iterator[tuple[str, Facts]]:
    for name in ("x_train", "x_test"):
        if "sampled" in arrays.get(name, {}):
            yield name, arrays[name]


def _first(facts: Facts) -> str:
    """Which rows were sampled."""
    rows = facts["shape"][0]
    if facts["sampled"] == rows:
        return "all rows"
    return f"the first {facts['sampled']:,} of {rows:,} rows"


def _count_from_zero(arrays: dict[str, Facts]) -> Iterator[str]:
    """Lower labels that all go from 1 by one, as the run does, and say so."""
    labels = [arrays["y_train"], arrays["y_test"]]
    lowest = min(facts.get("low", 0) for facts in labels)
    if lowest != 1 or not all(facts["whole"] for facts in labels):
        return
    yield ranges.counted_from_one(int(max(facts["high"] for facts in labels)))
    for facts in labels:
        facts.update(low=facts["low"] - 1, high=facts["high"] - 1)
        if "counts" in facts:
            facts["counts"] = facts["counts"][1:]


def _classes(arrays: dict[str, Facts], spec: RunSpec) -> list[str]:
    """What is wrong with the class numbers, and with the rows of each class."""
    labels = {}
    problems = []
    for part in ("train", "test"):
        name = f"y_{part}"
        facts = arrays[name]
        if "low" not in facts:
            return []  # the heads show why
        problem = array_rules.wrong_class_numbers(name, facts["low"], facts["high"], facts["whole"])
        if problem:
            problems.append(problem)
            continue
        counts = facts.get("counts")
        labels[part] = array_rules.Labels(facts["shape"][0], int(facts["high"]), counts)
    if problems:
        return problems
    problems = array_rules.class_problems(labels["train"], labels["test"])
    if problems:
        return problems
    return list(_splits(labels["train"].counts or [], spec))


def _splits(counts: Sequence[int], spec: RunSpec) -> Iterator[str]:
    """The classes with too few training rows for the folds, or for the validation part."""
    folds = spec.train.cross_validation or 0
    share = spec.data.validation_split
    for label, rows in enumerate(counts):
        off = array_rules.split_off(rows, share)
        if rows < folds:
            yield (
                f"y_train has {rows} rows of class {label}; "
                f"train.cross_validation {folds} needs that many of each"
            )
        elif share and not 0 < off < rows:
            yield (
                f"data.validation_split {share:g} would take {off} of the {rows} rows "
                f"of class {label}"
            )


def _too_small(spec: RunSpec, height: int, width: int) -> Iterator[Finding]:
    """Something must be left of the image after every convolution and pooling."""
    try:
        check_fit(spec, (height, width))
    except SpecError as error:
        cause, _, fix = str(error).removeprefix("model: ").rpartition(": ")
        yield Finding(cause, fix, "job", "model")


def _too_large(subject: Subject, arrays: dict[str, Facts]) -> Iterator[Finding]:
    """The images need more memory than the job has.

    They are in memory twice while TensorFlow takes its own copy, and once more as they were read.
    """
    memory_gb = subject.submission.plan.size.memory_gb
    if memory_gb is None:
        return
    converted_bytes = largest_bytes = 0
    for name in ("x_train", "x_test"):
        facts = arrays[name]
        values = math.prod(facts["shape"])
        converted_bytes += values * (4 if facts["kind"] == "f" else 1)
        largest_bytes = max(largest_bytes, values * facts["bytes_each"])
    need_bytes = max(2 * converted_bytes, converted_bytes + largest_bytes)
    need_gb = need_bytes / 1024**3 + _TENSORFLOW_GB
    if need_gb > memory_gb:
        cause = f"the data need about {need_gb:.1f} GB of memory, and the job has {memory_gb:g} GB"
        more = f"--set resources.memory_gb={math.ceil(need_gb)}"
        fix = f"ask for more: {more}, or store the images as uint8"
        yield Finding(cause, fix, "job", "resources.memory_gb")


def _finding(subject: Subject, cause: str, fix: str) -> Finding:
    spec = subject.submission.spec
    key = "data.path"
    if spec and spec.data.name:
        key = "data.name"
    return Finding(cause, fix, "job", key)
