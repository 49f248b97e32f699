"""The weights that a script lets Keras load: on a compute node without internet, they must have been staged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hpcdl.data import WEIGHTS, how_to_stage
from hpcdl.data.weights import ARCHITECTURES, find_weights, sources
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.attributes import calls
from hpcdl.preflight.script import sources_of


def weights(subject: Subject) -> Iterator[Finding]:
    """For every ``keras.applications`` model of a script with ImageNet's weights, their file lies in data_root."""
    models = Path(subject.cluster.data_root, "models")
    for file, source in sources_of(subject).items():
        for name, call, at_once in calls(source):
            parts = name.split(".")
            architecture = parts[-1]
            given = {word.arg: word.value for word in call.keywords}
            if "applications" not in parts or architecture not in ARCHITECTURES or call.args or None in given:
                continue
            top, wanted = given.get("include_top", ast.Constant(True)), given.get("weights", ast.Constant("imagenet"))
            if not isinstance(wanted, ast.Constant) or wanted.value != "imagenet":
                continue
            tops = [bool(top.value)] if isinstance(top, ast.Constant) else [True, False]
            size = _size(given)
            if not any(find_weights(models, architecture, one, *size) for one in tops):
                which = "" if tops[0] else ", include_top=False"
                name = _name(architecture, tops[0], *size)
                yield Finding(
                    f"{file}:{call.lineno}: {architecture} takes ImageNet's weights{which}, which are not in {models}",
                    how_to_stage(name, subject.cluster.data_root),
                    "job",
                    "script",
                    at_once,
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
