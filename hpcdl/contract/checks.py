"""What is wrong with a RunSpec: types, bounds and sizes, checked before TensorFlow is imported."""

from __future__ import annotations

import operator
from dataclasses import fields
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from hpcdl.contract.spec import (
    METRICS,
    CnnSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    RunSpec,
    ScheduleSpec,
    SpecError,
    augment_problems,
)

_COMPARE: Dict[str, Tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": (">=", operator.ge),
    "gt": (">", operator.gt),
    "le": ("<=", operator.le),
    "lt": ("<", operator.lt),
}


def check_spec(run: RunSpec) -> None:
    """Check every setting of a run against its declared type and bounds, and what they mean together.

    Raises:
        SpecError: naming all problems, one a line.
    """
    problems: List[str] = []
    for where in ("data", "model", "train", "devices", "saving"):
        problems += _check_section(where, getattr(run, where))
    problems += _check_section("train.optimizer", run.train.optimizer)
    if isinstance(run.train.schedule, ScheduleSpec):
        problems += _check_section("train.schedule", run.train.schedule)
    if isinstance(run.train.early_stopping, EarlyStoppingSpec):
        problems += _check_section("train.early_stopping", run.train.early_stopping)
    if not problems:
        problems = _check_together(run)
    if problems:
        raise SpecError("\n".join(problems))


def _check_section(where: str, section: Any) -> List[str]:
    problems = []
    for setting in fields(section):
        value, kind = getattr(section, setting.name), setting.type
        name = "{}.{}".format(where, setting.name)
        if not _is_of(value, kind):
            expected = (
                getattr(kind, "__name__", None)
                if isinstance(kind, type)
                else str(kind).replace("typing.", "")
            )
            problems.append("{} is {!r}; expected {}".format(name, value, expected))
        elif value is not None:
            problems += _check_bounds(name, value, setting.metadata)
    return problems


def _is_of(value: Any, kind: Any) -> bool:
    origin = getattr(kind, "__origin__", None)
    args: Tuple[Any, ...] = getattr(kind, "__args__", ())
    if kind is Any:
        return True
    if origin is Union:
        return any(_is_of(value, option) for option in args)
    if origin is list:
        return isinstance(value, list) and all(_is_of(item, args[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _check_bounds(name: str, value: Any, bounds: Any) -> List[str]:
    problems = []
    for item in value if isinstance(value, list) else [value]:
        for bound, (sign, holds) in _COMPARE.items():
            if bound in bounds and not holds(item, bounds[bound]):
                problems.append(
                    "{} is {!r}; expected {} {!r}".format(name, item, sign, bounds[bound])
                )
        if "choices" in bounds and item not in bounds["choices"]:
            problems.append(
                "{} is {!r}; expected one of {}".format(name, item, ", ".join(bounds["choices"]))
            )
    if len(value if isinstance(value, list) else "-") < bounds.get("min_length", 0):
        problems.append(
            "{} is {!r}; expected at least {} entries".format(name, value, bounds["min_length"])
        )
    return problems


def _check_together(run: RunSpec) -> List[str]:
    problems = []
    data = run.data
    if not data.path and not data.function:
        problems.append(
            "data.path is missing; expected the path of a file or folder, or data.function"
        )
    if data.image_size is not None and len(data.image_size) != 2:
        problems.append("data.image_size is {!r}; expected [height, width]".format(data.image_size))
    for place, wrong in augment_problems(data.augment):
        problems.append("data.augment[{}]: {}".format(place, wrong))
    model = run.model
    if isinstance(model, CnnSpec) and len(kernel_sizes(model)) != len(model.filters):
        problems.append(
            "model.kernel_size has {} entries; expected one number, or one for each of the {} filters".format(
                len(kernel_sizes(model)), len(model.filters)
            )
        )
    if isinstance(model, FunctionSpec) and not all(model.function.partition(":")):
        problems.append(
            "model.function is {!r}; expected package.module:function".format(model.function)
        )
    optimizer = run.train.optimizer
    for setting, takers in (("momentum", ("sgd", "rmsprop")), ("nesterov", ("sgd",))):
        if getattr(optimizer, setting) is not None and optimizer.name not in takers:
            problems.append(
                "train.optimizer.{} is set, but {} does not take it; expected {}".format(
                    setting, optimizer.name, " or ".join(takers)
                )
            )
    if run.train.batch_size < run.devices.gpus:
        problems.append(
            "train.batch_size is {}; expected at least one row for each of the {} GPUs".format(
                run.train.batch_size, run.devices.gpus
            )
        )
    if run.train.cross_validation and data.validation_split:
        problems.append(
            "data.validation_split is {!r}; expected 0 with train.cross_validation, where each fold validates on its "
            "part of the rows".format(data.validation_split)
        )
    if run.train.jit == "on" and run.devices.gpus > 1:
        problems.append(
            "train.jit is 'on', but XLA compiles for one device; expected auto or off with several GPUs"
        )
    return problems + check_monitored(run, None if isinstance(model, FunctionSpec) else METRICS)


def check_monitored(run: RunSpec, metrics: Optional[Sequence[str]]) -> List[str]:
    """What is wrong with the metrics to watch; of a user's model they are not known (None) before it is built."""
    problems = []
    watching = {
        "train.early_stopping": run.train.early_stopping,
        "train.schedule": run.train.schedule,
    }
    for where, section in watching.items():
        problem = section.problem(run.validation_share, metrics) if section else None
        if problem is not None:
            key, expected = problem
            problems.append(
                "{}.{} is {!r}; expected {}".format(where, key, getattr(section, key), expected)
            )
    return problems


def kernel_sizes(model: CnnSpec) -> List[int]:
    """The kernel width of each convolution: one number stands for all of them."""
    if isinstance(model.kernel_size, list):
        return model.kernel_size
    return [model.kernel_size] * len(model.filters)


def check_fit(run: RunSpec, image_shape: Tuple[int, ...]) -> None:
    """Check that the images (height, width, channels) are large enough for every convolution and pooling.

    Raises:
        SpecError: naming the layer at which nothing is left of the image.
    """
    if not isinstance(run.model, CnnSpec):
        return
    height, width = image_shape[:2]
    for layer, kernel in enumerate(kernel_sizes(run.model), start=1):
        if min(height, width) - kernel + 1 < 2:
            raise SpecError(
                "model: convolution {} (kernel {} and 2x2 pooling) gets {}x{} pixels, too few; the images "
                "have {}x{}: use fewer filters or a smaller kernel_size".format(
                    layer, kernel, height, width, image_shape[0], image_shape[1]
                )
            )
        height, width = (height - kernel + 1) // 2, (width - kernel + 1) // 2
