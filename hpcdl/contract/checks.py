"""What is wrong with a RunSpec, checked before TensorFlow is imported.

Types and bounds come from the fields of all its sections. What settings mean together is in
`_RULES`, one function a rule. The host checks job files by these rules, too, so each rule is
here alone.
"""

from __future__ import annotations

import operator
from dataclasses import fields
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from hpcdl.contract.data_spec import augment_problems
from hpcdl.contract.export_kinds import kind_problems
from hpcdl.contract.functions import did_you_mean_function, is_function
from hpcdl.contract.method_rules import METHOD_RULES
from hpcdl.contract.settings import SpecError, SpecProblem, join, sections_of
from hpcdl.contract.spec import METRICS, CnnSpec, FunctionSpec, RunSpec

_COMPARE: Dict[str, Tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": (">=", operator.ge),
    "gt": (">", operator.gt),
    "le": ("<=", operator.le),
    "lt": ("<", operator.lt),
}
_TAKE = {"momentum": ("sgd", "rmsprop"), "nesterov": ("sgd",)}  # which optimizers take a setting


def check_spec(run: RunSpec) -> None:
    """Check every setting of a run against its type, its bounds and the other settings.

    Raises:
        SpecError: naming all problems, one a line.
    """
    problems = spec_problems(run)
    if problems:
        raise SpecError("\n".join(str(problem) for problem in problems))


def spec_problems(run: RunSpec) -> List[SpecProblem]:
    """All that is wrong; the rules are asked only if every setting is of its type."""
    return list(type_problems(run)) or list(rule_problems(run))


def type_problems(run: RunSpec) -> Iterator[SpecProblem]:
    """The settings that are not of their type or not within their bounds."""
    for where, section in sections_of(run):
        for setting_field in fields(section):
            key = join(where, setting_field.name)
            value = getattr(section, setting_field.name)
            if not _is_of(value, setting_field.type):
                yield SpecProblem(key, value, _type_name(setting_field.type))
            elif value is not None:
                yield from _bound_problems(key, value, setting_field.metadata)


def rule_problems(run: RunSpec) -> Iterator[SpecProblem]:
    """What is wrong with settings of the right types, by the rules for what they mean together."""
    for rule in (*_RULES, *METHOD_RULES):
        yield from rule(run)


def monitor_problems(run: RunSpec, metrics: Optional[Sequence[str]]) -> Iterator[SpecProblem]:
    """What is wrong with the metrics that sections watch, by each section's `problem`.

    Args:
        run: the run.
        metrics: the model's metrics; None if they are not known yet, as of a user's own model.
    """
    for where, section in sections_of(run):
        if not hasattr(section, "problem"):
            continue
        problem = section.problem(run.validation_share, metrics)
        if problem is not None:
            key, expected = problem
            reads = ("data.validation_split", "train.cross_validation", "model", where)
            yield SpecProblem(join(where, key), getattr(section, key), expected, reads)


def check_monitored(run: RunSpec, metrics: Sequence[str]) -> None:
    """Check that the model has the metrics that sections watch.

    Raises:
        SpecError: naming all problems, one a line.
    """
    problems = list(monitor_problems(run, metrics))
    if problems:
        raise SpecError("\n".join(str(problem) for problem in problems))


def check_fit(run: RunSpec, image_shape: Tuple[int, ...]) -> None:
    """Check that the images are large enough for every convolution and pooling.

    Args:
        run: the run.
        image_shape: (height, width, channels) of the images.

    Raises:
        SpecError: naming the layer at which nothing is left of the image.
    """
    if not isinstance(run.model, CnnSpec):
        return
    height, width = image_shape[:2]
    for layer, kernel in enumerate(kernel_sizes(run.model), start=1):
        if min(height, width) - kernel + 1 < 2:
            message = (
                "model: convolution {} (kernel {} and 2x2 pooling) gets {}x{} pixels, too few; "
                "the images have {}x{}: use fewer filters or a smaller kernel_size"
            )
            raise SpecError(
                message.format(layer, kernel, height, width, image_shape[0], image_shape[1])
            )
        height, width = (height - kernel + 1) // 2, (width - kernel + 1) // 2


def kernel_sizes(model: CnnSpec) -> List[int]:
    """The kernel width of each convolution: one number stands for all of them."""
    if isinstance(model.kernel_size, list):
        return model.kernel_size
    return [model.kernel_size] * len(model.filters)


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


def _type_name(kind: Any) -> str:
    if isinstance(kind, type) and not getattr(kind, "__args__", ()):
        return kind.__name__
    return str(kind).replace("typing.", "")


def _bound_problems(key: str, value: Any, bounds: Any) -> Iterator[SpecProblem]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        for bound, (sign, holds) in _COMPARE.items():
            if bound in bounds and not holds(item, bounds[bound]):
                yield SpecProblem(key, item, "{} {!r}".format(sign, bounds[bound]))
        if "choices" in bounds and item not in bounds["choices"]:
            yield SpecProblem(key, item, "one of " + ", ".join(bounds["choices"]))
    if len(items) < bounds.get("min_length", 0):
        yield SpecProblem(key, value, "at least {} entries".format(bounds["min_length"]))


def _data_is_somewhere(run: RunSpec) -> Iterator[SpecProblem]:
    if not run.data.path and not run.data.function:
        yield SpecProblem(
            "data.path", None, "the path of a file or folder, or data.function", ("data.function",)
        )


def _functions_are_named(run: RunSpec) -> Iterator[SpecProblem]:
    functions = {"data.function": run.data.function}
    if isinstance(run.model, FunctionSpec):
        functions["model.function"] = run.model.function
    for key, function in functions.items():
        if function is not None and not is_function(function):
            hint = did_you_mean_function(function)
            yield SpecProblem(key, function, "package.module:function", hint=hint)


def _arguments_have_a_function(run: RunSpec) -> Iterator[SpecProblem]:
    if run.data.args and run.data.function is None:
        expected = "none, as arguments go with data.function"
        yield SpecProblem("data.args", run.data.args, expected, ("data.function",))


def _image_size_is_a_pair(run: RunSpec) -> Iterator[SpecProblem]:
    size = run.data.image_size
    if size is not None and len(size) != 2:
        yield SpecProblem("data.image_size", size, "[height, width]")


def _augmentations_are_right(run: RunSpec) -> Iterator[SpecProblem]:
    for place, expected in augment_problems(run.data.augment):
        key = "data.augment[{}]".format(place)
        yield SpecProblem(key, run.data.augment[place], expected)


def _exports_are_known(run: RunSpec) -> Iterator[SpecProblem]:
    for place, expected, hint in kind_problems(run.export):
        yield SpecProblem("export[{}]".format(place), run.export[place], expected, hint=hint)


def _kernels_fit_filters(run: RunSpec) -> Iterator[SpecProblem]:
    model = run.model
    if isinstance(model, CnnSpec) and len(kernel_sizes(model)) != len(model.filters):
        expected = "one number, or one for each of the {} filters".format(len(model.filters))
        yield SpecProblem("model.kernel_size", model.kernel_size, expected, ("model.filters",))


def _optimizer_takes_settings(run: RunSpec) -> Iterator[SpecProblem]:
    optimizer = run.train.optimizer
    for name, takers in _TAKE.items():
        value = getattr(optimizer, name)
        if value is not None and optimizer.name not in takers:
            takes = "only {} takes it" if len(takers) == 1 else "{} take it"
            expected = "none with {} ({})".format(
                optimizer.name, takes.format(" and ".join(takers))
            )
            key = "train.optimizer." + name
            yield SpecProblem(key, value, expected, ("train.optimizer.name",))


def _every_gpu_has_a_row(run: RunSpec) -> Iterator[SpecProblem]:
    rows, gpus = run.train.batch_size, run.devices.gpus
    if rows < gpus:
        expected = "at least one row for each of the {} GPUs".format(gpus)
        yield SpecProblem("train.batch_size", rows, expected, ("devices.gpus",))


def _rate_grows_with_batch(run: RunSpec) -> Iterator[SpecProblem]:
    scale = run.train.scale_learning_rate
    if scale is not None and scale.rule != "none" and run.train.batch_size_per_gpu is None:
        expected = "none, or train.batch_size_per_gpu: batch_size does not grow with the GPUs"
        key = "train.scale_learning_rate.rule"
        yield SpecProblem(key, scale.rule, expected, ("train.batch_size_per_gpu",))


def _folds_take_no_split(run: RunSpec) -> Iterator[SpecProblem]:
    split = run.data.validation_split
    if run.train.cross_validation and split:
        expected = (
            "0 with train.cross_validation, where each fold validates on its part of the rows"
        )
        yield SpecProblem("data.validation_split", split, expected, ("train.cross_validation",))


def _xla_has_one_device(run: RunSpec) -> Iterator[SpecProblem]:
    if run.train.jit == "on" and run.devices.gpus > 1:
        expected = "auto or off with {} GPUs: XLA compiles for one device".format(run.devices.gpus)
        yield SpecProblem("train.jit", "on", expected, ("devices.gpus",))


def _epsilons_ascend(run: RunSpec) -> Iterator[SpecProblem]:
    expected = run.test.attack_problem()
    if expected is not None:
        yield SpecProblem("test.attack", run.test.attack, expected)


def _known_metrics_are_watched(run: RunSpec) -> Iterator[SpecProblem]:
    """The metrics of a user's own model are known only once it is built."""
    built_here = run.model is not None and not isinstance(run.model, FunctionSpec)
    yield from monitor_problems(run, METRICS if built_here else None)


_RULES: Sequence[Callable[[RunSpec], Iterator[SpecProblem]]] = (
    _data_is_somewhere,
    _functions_are_named,
    _arguments_have_a_function,
    _image_size_is_a_pair,
    _augmentations_are_right,
    _exports_are_known,
    _kernels_fit_filters,
    _optimizer_takes_settings,
    _every_gpu_has_a_row,
    _rate_grows_with_batch,
    _folds_take_no_split,
    _xla_has_one_device,
    _epsilons_ascend,
    _known_metrics_are_watched,
)
