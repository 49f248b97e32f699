"""The weights that a script or a backbone uses. They must be staged: a node has no internet."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract.spec import BackboneSpec
from hpcdl.in_image.names import TF_KERAS
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import calls
from hpcdl.preflight.ask_image import Question, ask
from hpcdl.preflight.kerasoptimizers import keywords
from hpcdl.preflight.sources import sources_of
from hpcdl.staging import MODELS, WEIGHTS, how_to_stage
from hpcdl.staging.request import is_hdf5
from hpcdl.staging.weights import ARCHITECTURES, find_weights, sources
from hpcdl.text import did_you_mean
from hpcdl.usercode.notebook import where

_DEFAULT_SIDE = 224  # of the images, in pixels; the weights of most architectures have one size


@dataclass(frozen=True)
class _Network:
    """A network of ``keras.applications`` with ImageNet's weights.

    Args:
        architecture: such as MobileNetV2.
        include_top: whether with its last layer; None if that is not known.
        alpha: the width multiplier; None if it is not known.
        side: of its images in pixels; None if it is not known.
    """

    architecture: str
    include_top: bool | None
    alpha: float | None
    side: int | None

    def is_staged(self, models: Path) -> bool:
        """Whether its weights are in a folder; any of them if it is not known which it uses."""
        tops = [True, False] if self.include_top is None else [self.include_top]
        return any(
            find_weights(models, self.architecture, top, self.alpha, self.side) for top in tops
        )

    def staged_as(self) -> str:
        """What ``hpcdl data stage`` gets: the architecture, or one of its other files by name."""
        include_top = self.include_top is not False
        files = sources(self.architecture, include_top, self.alpha, self.side)
        usual_files = sources(self.architecture, include_top)
        if files and files[0] != usual_files[0]:
            return f"{WEIGHTS}{files[0].file}"
        option = " --include-top" if include_top else ""
        return f"{WEIGHTS}{self.architecture}{option}"


def weights(subject: Subject) -> Iterator[Finding]:
    """ImageNet's weights are staged for each ``keras.applications`` network that the job uses.

    A job's own backbone is one that the image's Keras has.
    """
    models = Path(subject.cluster.data_root, MODELS)
    model = subject.job.model
    if isinstance(model, BackboneSpec):
        yield from _file_of_backbone(model)
        yield from _imagenet_of_backbone(subject, model, models)
        yield from _architecture_of_backbone(subject, model)
        return
    for file, source in sources_of(subject).items():
        for name, call, at_once in calls(source):
            network = _network_of(name, call)
            if network is None or network.is_staged(models):
                continue
            place = where(file, source, call.lineno)
            which = ", include_top=False" if network.include_top is False else ""
            uses = f"{place}: {network.architecture} uses ImageNet's weights{which}"
            cause = f"{uses}, which are not in {models}"
            fix = how_to_stage(network.staged_as(), subject.cluster.data_root)
            yield Finding(cause, fix, "job", "script", at_once)


def _file_of_backbone(model: BackboneSpec) -> Iterator[Finding]:
    """A backbone's own file of weights exists, and is an HDF5 file."""
    if model.weights in ("imagenet", "none"):
        return
    path = Path(model.weights)
    if not path.is_file():
        fix = "correct it: imagenet, none, or the path of an HDF5 file, relative to the job file"
        yield Finding(f"there is no file {path}", fix, "job", "model.weights")
    elif not is_hdf5(path):
        fix = "give a file that Keras's save_weights wrote"
        yield Finding(f"{path} is not an HDF5 file", fix, "job", "model.weights")


def _imagenet_of_backbone(subject: Subject, model: BackboneSpec, models: Path) -> Iterator[Finding]:
    """ImageNet's weights of a backbone are staged."""
    size = subject.job.data.image_size if subject.job.data else None
    side = None
    if size is not None:
        side = size[0] if size[0] == size[1] else _DEFAULT_SIDE
    network = _Network(model.backbone, False, 1.0, side)
    if model.weights != "imagenet" or model.backbone not in ARCHITECTURES:
        return
    if not network.is_staged(models):
        cause = f"the ImageNet weights of {model.backbone} are not in {models}"
        fix = how_to_stage(network.staged_as(), subject.cluster.data_root)
        yield Finding(cause, fix, "job", "model.weights")


def _architecture_of_backbone(subject: Subject, model: BackboneSpec) -> Iterator[Finding]:
    """The image's Keras has the backbone."""
    if subject.plan.container is None:
        return
    name = f"tensorflow.keras.applications.{model.backbone}"
    facts = ask(subject.plan, subject.module_lines, Question(names=[name]))
    if name in facts.absent and facts.version(TF_KERAS):
        version, short_name = facts.version("tensorflow"), name.removeprefix("tensorflow.")
        cause = f"TensorFlow {version} of the image has no {short_name}"
        guess = did_you_mean(model.backbone, sorted(ARCHITECTURES)).removeprefix("; ")
        fix = guess or "see docs/transfer-learning.md for what there is"
        yield Finding(cause, fix, "job", "model.backbone")


def _network_of(name: str, call: ast.Call) -> _Network | None:
    """The network that a call makes with ImageNet's weights; None if it makes none.

    Args:
        name: the dotted name that is called.
        call: the call.
    """
    words = name.split(".")
    arguments = keywords(call)
    if "applications" not in words or words[-1] not in ARCHITECTURES:
        return None
    if call.args or None in arguments:
        return None
    source = arguments.get("weights", ast.Constant("imagenet"))
    if not isinstance(source, ast.Constant) or source.value != "imagenet":
        return None
    top = arguments.get("include_top", ast.Constant(True))
    include_top = bool(top.value) if isinstance(top, ast.Constant) else None
    return _Network(words[-1], include_top, _alpha(arguments), _side(arguments))


def _alpha(arguments: dict[str | None, ast.expr]) -> float | None:
    """The width multiplier of a call; None if it is not written out."""
    try:
        return float(ast.literal_eval(arguments.get("alpha", ast.Constant(1.0))))
    except (ValueError, TypeError):
        return None


def _side(arguments: dict[str | None, ast.expr]) -> int | None:
    """The side of the images of a call in pixels; None if it is not written out."""
    shape = arguments.get("input_shape")
    if shape is None:
        return None if "input_tensor" in arguments else _DEFAULT_SIDE
    try:
        height, width = ast.literal_eval(shape)[:2]
    except (ValueError, TypeError):
        return None
    return height if height == width and isinstance(height, int) else _DEFAULT_SIDE
