"""The runs whose models a training needs: they fit its images, and this hpcdl can read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpcdl.contract.model_facts import misfits
from hpcdl.contract.spec import RunSpec, SpecError
from hpcdl.contract.version import __version__
from hpcdl.in_image.names import TF_KERAS
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.arrays import look
from hpcdl.preflight.ask_image import Question, ask
from hpcdl.submission.other_runs import TEACHER, OtherModel, other_models

_OTHER_IMAGES = (
    "name a run that was trained on the same kind of images; "
    "data.image_size and data.color change the shape of those of this job"
)


class _Images(NamedTuple):
    """What is known of a job's images before it runs; None where nothing is.

    shape: [height, width, channels] as the model takes them.
    classes: how many there are.
    names: of the classes, in their order.
    """

    shape: Sequence[int] | None = None
    classes: int | None = None
    names: Sequence[str] | None = None


def has_other_runs(subject: Subject) -> bool:
    """Whether the training needs some."""
    spec = subject.spec
    return spec is not None and (spec.start is not None or spec.train.distill is not None)


def other_runs(subject: Subject) -> Iterator[Finding | Note]:
    """The models of other runs are for the same classes and images, and can be loaded."""
    spec = subject.spec
    if spec is None:
        return
    images = _images_of(subject, spec)
    for other in other_models(spec):
        for problem in misfits(other.result, images.shape, images.classes, images.names):
            yield _finding(other, problem, _OTHER_IMAGES)
        yield from _other_versions(subject, other)
        if other.key == TEACHER:
            yield from _doubts(other)
    if spec.train.distill is not None and spec.data.augment:
        cost = "the teacher runs in each step, as it must see the images that data.augment changed"
        yield Note(f"{cost}; without data.augment it goes once over the images")


def _finding(other: OtherModel, cause: str, fix: str, blocks: bool = True) -> Finding:
    return Finding(f"{other.folder}: {cause}", fix, "job", other.key, blocks)


def _other_versions(subject: Subject, other: OtherModel) -> Iterator[Finding]:
    """A newer hpcdl wrote the run, or a Keras whose files the image cannot load."""
    versions = other.result.get("versions", {})
    wrote = str(versions.get("hpcdl", ""))
    if _numbers(wrote) > _numbers(__version__):
        cause = f"hpcdl {wrote} wrote it, and this is {__version__}"
        yield _finding(other, cause, "install the newer hpcdl")
    if subject.plan.container is None or not str(versions.get("keras", "")).startswith("3"):
        return
    facts = ask(subject.plan, subject.module_lines, Question())
    here = facts.version(TF_KERAS)
    if here.startswith("2"):
        cause = f"Keras {versions['keras']} wrote its model, which Keras {here} cannot load"
        yield _finding(other, cause, "set container to the image that the run had")


def _doubts(other: OtherModel) -> Iterator[Finding]:
    """What makes a bad teacher."""
    try:
        smoothing = other.spec().train.label_smoothing
    except (OSError, SpecError):
        return
    if smoothing:
        cause = f"this teacher was trained with label_smoothing {smoothing:g}"
        fix = "a teacher without it teaches more (docs/training-options.md)"
        yield _finding(other, cause, fix, blocks=False)


def _images_of(subject: Subject, spec: RunSpec) -> _Images:
    """What the data set says of its images; the trainer compares what it does not say."""
    in_files = subject.images_in_files
    if in_files is not None:
        names = in_files.classes or None
        return _Images(in_files.shape, len(names) if names else None, names)
    path = Path(spec.data.path or "")
    if not spec.data.path or not path.exists():
        return _Images()
    try:
        arrays: dict[str, Any] = look(path)
        images, labels = arrays["x_train"]["shape"], arrays["y_train"]
        channels = spec.data.channels(images[3] if len(images) > 3 else 1)
        shape = [*(spec.data.image_size or images[1:3]), channels]
        lowest = min(labels["low"], arrays["y_test"]["low"])
        return _Images(shape, int(labels["high"]) - int(lowest == 1) + 1)
    except (OSError, KeyError, IndexError):  # no arrays that can be read: another check says so
        return _Images()


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
