"""The weights that a script or a backbone takes: on a compute node without internet, they must have been staged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hpcdl.contract.spec import BackboneSpec
from hpcdl.in_image.names import TF_KERAS
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import calls
from hpcdl.preflight.ask_image import Question, ask
from hpcdl.preflight.sources import sources_of
from hpcdl.staging import MODELS, WEIGHTS, how_to_stage
from hpcdl.staging.request import is_hdf5
from hpcdl.staging.weights import ARCHITECTURES, find_weights, sources
from hpcdl.text import did_you_mean
from hpcdl.usercode.notebook import where


def weights(subject: Subject) -> Iterator[Finding]:
    """For every ``keras.applications`` model of a script with ImageNet's weights, their file lies in data_root.

    A job's own backbone is one that the image's Keras has.
    """
    models = Path(subject.cluster.data_root, MODELS)
    model = subject.job.model
    if isinstance(model, BackboneSpec):
        yield from _of_backbone(subject, model, models)
        return
    for file, source in sources_of(subject).items():
        for name, call, at_once in calls(source):
            parts = name.split(".")
            architecture = parts[-1]
            given = {word.arg: word.value for word in call.keywords}
            if (
                "applications" not in parts
                or architecture not in ARCHITECTURES
                or call.args
                or None in given
            ):
                continue
            top, wanted = (
                given.get("include_top", ast.Constant(True)),
                given.get("weights", ast.Constant("imagenet")),
            )
            if not isinstance(wanted, ast.Constant) or wanted.value != "imagenet":
                continue
            tops = [bool(top.value)] if isinstance(top, ast.Constant) else [True, False]
            size = _size(given)
            if not any(find_weights(models, architecture, one, *size) for one in tops):
                which = "" if tops[0] else ", include_top=False"
                name = _name(architecture, tops[0], *size)
                place = where(file, source, call.lineno)
                yield Finding(
                    f"{place}: {architecture} takes ImageNet's weights{which}, which are not in {models}",
                    how_to_stage(name, subject.cluster.data_root),
                    "job",
                    "script",
                    at_once,
                )


def _of_backbone(subject: Subject, model: BackboneSpec, models: Path) -> Iterator[Finding]:
    data = subject.job.data
    size = data.image_size if data else None
    side = None if size is None else (size[0] if size[0] == size[1] else 224)
    if model.weights not in ("imagenet", "none"):
        path = Path(model.weights)
        if not path.is_file():
            fix = (
                "correct it: imagenet, none, or the path of an HDF5 file, relative to the job file"
            )
            yield Finding(f"there is no file {path}", fix, "job", "model.weights")
        elif not is_hdf5(path):
            fix = "give a file as Keras's save_weights writes it"
            yield Finding(f"{path} is no HDF5 file", fix, "job", "model.weights")
    staged = model.backbone not in ARCHITECTURES or find_weights(
        models, model.backbone, False, 1.0, side
    )
    if model.weights == "imagenet" and not staged:
        wrong = f"the ImageNet weights of {model.backbone} are not in {models}"
        fix = how_to_stage(_name(model.backbone, False, 1.0, side), subject.cluster.data_root)
        yield Finding(wrong, fix, "job", "model.weights")
    plan = subject.plan
    if plan.image is None:
        return
    name = f"tensorflow.keras.applications.{model.backbone}"
    facts = ask(plan, subject.module_lines, Question(names=[name]))
    if name in facts.absent and facts.version(TF_KERAS):
        short_name = name.removeprefix("tensorflow.")
        wrong = f"TensorFlow {facts.version('tensorflow')} of the image has no {short_name}"
        guess = did_you_mean(model.backbone, sorted(ARCHITECTURES)).removeprefix("; ")
        yield Finding(
            wrong,
            guess or "see docs/transfer-learning.md for what there is",
            "job",
            "model.backbone",
        )


def _size(given: dict[str | None, ast.expr]) -> tuple[float | None, int | None]:
    """The width multiplier and the side of the images of a call, as far as they are written there."""
    alpha, shape = given.get("alpha", ast.Constant(1.0)), given.get("input_shape")
    try:
        width = float(ast.literal_eval(alpha))
    except (ValueError, TypeError):
        width = None
    if shape is None:
        return width, None if "input_tensor" in given else 224
    try:
        height, breadth = ast.literal_eval(shape)[:2]
    except (ValueError, TypeError):
        return width, None
    return width, height if height == breadth and isinstance(height, int) else 224


def _name(architecture: str, include_top: bool, alpha: float | None, side: int | None) -> str:
    """What is staged for a call: the architecture, or one of its other files by name."""
    fitting = sources(architecture, include_top, alpha, side)
    if not fitting or fitting[0] == sources(architecture, include_top)[0]:
        return f"{WEIGHTS}{architecture}{' --include-top' if include_top else ''}"
    return f"{WEIGHTS}{fitting[0].file}"
