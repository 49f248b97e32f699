"""Turns a job document into a `Job`: the rules that types and bounds cannot say, and the paths."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl import shipped
from hpcdl.contract.spec import (
    METRICS,
    MODELS,
    BackboneSpec,
    CnnSpec,
    DataSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    ScheduleSpec,
    TrainSpec,
    augment_problems,
)
from hpcdl.environment import expand, nobodys_home
from hpcdl.errors import Problem
from hpcdl.image_address import not_a_file
from hpcdl.job.names import NAME, is_function, meant
from hpcdl.job.requirements import read_requirements
from hpcdl.job.sbatchoptions import NO_DIRECTIVE, check_options, directive_carries, with_flags
from hpcdl.job.sections import Job, parse_time
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def build(document: Located, folder: Path, source: str, problems: list[Problem]) -> Job | None:
    """Make a Job of a document, or add problems and return None."""
    walker = Walker(problems, {MlpSpec: _model, OptimizerSpec: _optimizer})
    job = walker.fill(Job, with_flags(document))
    if isinstance(document.value, dict):
        _check_kind(document, walker)
        _check_values(document, walker)
        _check_train(document, walker)
    if job is None or problems:
        return None
    return _resolve(job, document, walker, folder, source)


def _model(walker: Walker, item: Located, key: str) -> Any:
    """One of the model sections, by its name or its function."""
    names = "|".join(sorted(MODELS))
    kinds = f"expected {{name: {names}}}, {{backbone: MobileNetV2|...}} or {{function: package.module:function}}"
    if not isinstance(item.value, dict):
        walker.add(item, key, f"{kinds}; got {show(item.plain())}")
        return None
    if "function" in item.value:
        return walker.fill(FunctionSpec, item, key)
    if "backbone" in item.value:
        return walker.fill(BackboneSpec, item, key)
    name = item.value.get("name")
    if name is None or str(name.value) not in MODELS:
        given = f"; got {show(name.plain())}{did_you_mean(str(name.value), MODELS)}" if name else ""
        walker.add(name or item, f"{key}.name" if name else key, kinds + given)
        return None
    model = walker.fill(MODELS[name.value], item, key)
    if (
        isinstance(model, CnnSpec)
        and isinstance(model.kernel_size, list)
        and len(model.kernel_size) != len(model.filters)
    ):
        sizes, filters = len(model.kernel_size), len(model.filters)
        walker.add(
            item.value["kernel_size"],
            f"{key}.kernel_size",
            f"expected one size, or one for each of the {filters} filters; got {sizes}",
        )
    return model


def _optimizer(walker: Walker, item: Located, key: str) -> OptimizerSpec | None:
    if isinstance(item.value, str):
        item = Located({"name": Located(item.value, item.where, item.value)}, item.where)
    spec = walker.fill(OptimizerSpec, item, key)
    if spec and spec.momentum is not None and spec.name not in ("sgd", "rmsprop"):
        walker.add(
            item.value["momentum"], f"{key}.momentum", f"{spec.name} has none; sgd and rmsprop do"
        )
    if spec and spec.nesterov is not None and spec.name != "sgd":
        walker.add(item.value["nesterov"], f"{key}.nesterov", f"{spec.name} has none; sgd does")
    return spec


def _check_kind(document: Located, walker: Walker) -> None:
    """A job is either a script or a model with its data."""
    given = {key: item for key, item in document.value.items() if item.value is not None}
    if "script" in given:
        for key in ("data", "model", "train"):
            if key in given:
                walker.add(
                    given[key],
                    key,
                    "goes with a model; this job has a script, which does as it likes",
                )
        return
    for key in ("args", "workdir", "stop_signal"):
        if key in given:
            walker.add(given[key], key, "goes with a script; this job has none")
    if "model" not in given:
        walker.add(document, "model", "missing; expected a model with its data, or a script")
    if "data" not in given:
        walker.add(
            document, "data", "missing; expected {name: ...}, {path: ...} or {function: ...}"
        )


def _check_values(document: Located, walker: Walker) -> None:
    """What types and bounds cannot say."""

    def each(key: str) -> list[tuple[str, Located]]:
        item = document.value.get(key)
        return list(item.value.items()) if item and isinstance(item.value, dict) else []

    name = document.value.get("name")
    if name and name.raw is not None and not NAME.fullmatch(name.raw):
        walker.add(
            name,
            "name",
            f"expected letters, digits, '.', '_' and '-', at most 100, no space; got {show(name.raw)}",
        )
    for key, item in each("resources"):
        if key == "time" and item.raw is not None:
            try:
                parse_time(item.raw)
            except ValueError as error:
                walker.add(item, "resources.time", str(error))
    for section in ("data", "model"):
        for key, item in each(section):
            if key == "function" and isinstance(item.value, str) and not is_function(item.value):
                wrong = (
                    f"expected package.module:function; got {show(item.value)}{meant(item.value)}"
                )
                walker.add(item, f"{section}.function", wrong)
    for key, item in each("env"):
        if not _VARIABLE.fullmatch(key):
            walker.add(
                item, f"env.{key}", "is not a variable's name: letters, digits and underscores"
            )
        elif key == "CUDA_VISIBLE_DEVICES":
            walker.add(
                item,
                f"env.{key}",
                "is set by hpcdl, to the GPUs that SLURM gives; say resources.gpus",
            )
        elif key.startswith("HPCDL_"):
            walker.add(
                item,
                f"env.{key}",
                "is set by hpcdl, as all that begin with HPCDL_; use another name",
            )
    check_options(dict(each("slurm")), walker)
    data = dict(each("data"))
    if data and len({"name", "path", "function"} & set(data)) != 1:
        walker.add(document.value["data"], "data", "expected one of name, path and function")
    if "args" in data and data["args"].value and "function" not in data:
        walker.add(data["args"], "data.args", "goes with data.function")
    size = data.get("image_size")
    if size and isinstance(size.value, list) and len(size.value) != 2:
        walker.add(size, "data.image_size", f"expected [height, width]; got {show(size.plain())}")
    augment = data.get("augment")
    if augment and isinstance(augment.value, list):
        for place, wrong in augment_problems(augment.plain()):
            walker.add(augment.value[place], f"data.augment[{place}]", wrong)
    dataset = data.get("name")
    if dataset and dataset.raw is not None and not NAME.fullmatch(dataset.raw):
        walker.add(
            dataset,
            "data.name",
            f"expected a staged set's name; got {show(dataset.raw)} (a file goes under data.path)",
        )


def _check_train(document: Located, walker: Walker) -> None:
    """What monitored metrics, and XLA, need of the other sections."""

    def inner(item: Located | None, key: str) -> Located | None:
        return item.value.get(key) if item and isinstance(item.value, dict) else None

    train, data, model = (document.value.get(section) for section in ("train", "data", "model"))
    split, folds, name = (
        inner(data, "validation_split"),
        inner(train, "cross_validation"),
        inner(model, "name"),
    )
    share = split.value if split else 0.0
    if folds and folds.value:
        if split and split.value:
            why = "expected 0 with train.cross_validation, where each fold validates on its part of the rows"
            walker.add(split, "data.validation_split", f"{why}; got {show(split.plain())}")
        share = 1.0  # any share will do: there is a validation
    metrics = METRICS if name and str(name.value) in MODELS else None
    watching: dict[str, type[EarlyStoppingSpec] | type[ScheduleSpec]]
    watching = {"early_stopping": EarlyStoppingSpec, "schedule": ScheduleSpec}
    for where, cls in watching.items():
        section = inner(train, where)
        if section is None or section.value is None:
            continue
        spec = Walker([]).fill(cls, section)  # what is wrong inside it was reported
        problem = spec.problem(share, metrics) if spec else None
        if spec and problem:
            key, expected = problem
            item = inner(section, key)
            walker.add(
                item or section,
                f"train.{where}.{key}",
                f"expected {expected}; got {show(getattr(spec, key))}",
            )
    jit, gpus = inner(train, "jit"), inner(document.value.get("resources"), "gpus")
    if jit and jit.value == "on" and gpus and isinstance(gpus.value, int) and gpus.value > 1:
        walker.add(
            jit,
            "train.jit",
            f"expected auto or off with {gpus.value} GPUs: XLA compiles for one device",
        )


class _Paths:
    """Makes a job's paths absolute, with ~ and $NAME expanded, and checks that what must be here is here."""

    def __init__(self, folder: Path, walker: Walker) -> None:
        self._folder, self._walker = folder, walker

    def of(self, key: str, text: str, item: Located, want: str = "") -> str:
        """The absolute path that a key means; what is wrong with it is told to the walker.

        Args:
            key: the key, for messages.
            text: the path as it is written.
            item: where it is written.
            want: what must be there, ``file`` or ``folder``; nothing need be there if empty.
        """
        if not text.strip():
            self._walker.add(item, key, "is empty; expected a path (is a shell variable not set?)")
            return text
        try:
            text = expand(text)
        except ValueError as error:
            self._walker.add(item, key, str(error))
            return text
        full = self._folder / os.path.expanduser(text)
        if item.where.startswith("--set ") and "\0" not in text:
            full = _typed_path(full, self._walker, item, key)
        if "\0" in text or any(ord(c) < 32 for c in text):
            self._walker.add(item, key, "a path cannot hold a line break or a control character")
        elif key == "workdir" and not directive_carries(text):
            self._walker.add(item, key, f"{NO_DIRECTIVE}; got {show(text)}")
        elif want and not full.exists():
            self._walker.add(item, key, f"there is no {want} {full}{_why_not_there(full, text)}")
        return os.path.normpath(full)


def _resolve(job: Job, document: Located, walker: Walker, folder: Path, source: str) -> Job | None:
    """The job with absolute paths and the places of its keys; None if anything is wrong."""
    at, paths = document.value, _Paths(folder, walker)
    changes: dict[str, Any] = {"source": source, "folder": str(folder), "places": document.places()}
    if job.cluster:
        changes["cluster"] = at[
            "cluster"
        ].value  # its values keep their places: they join the profile's
    if job.script is not None:
        changes["script"] = _script_path(job.script, at["script"], paths, walker)
    if job.workdir is not None:
        changes["workdir"] = paths.of("workdir", job.workdir, at["workdir"], "folder")
        changes["workdir_text"] = job.workdir
    if job.files:
        items = at["files"].value
        changes["files"] = [
            paths.of(f"files[{i}]", text, items[i], "file") for i, text in enumerate(job.files)
        ]
    if job.packages is not None:
        changes["packages"] = paths.of("packages", job.packages, at["packages"], "file")
        if not walker.problems:
            changes["requirements"], problems = read_requirements(Path(changes["packages"]))
            for problem in problems:
                walker.add(at["packages"], "packages", problem)
    if job.pythonpath:
        changes["pythonpath"] = _import_folders(
            job.pythonpath, at["pythonpath"].value, paths, walker
        )
    address = not_a_file(job.container)
    if address:
        walker.add(at["container"], "container", address)
    elif "/" in job.container or "$" in job.container or job.container.endswith(".sif"):
        changes["container"] = paths.of("container", job.container, at["container"])
    if isinstance(job.data, DataSpec) and job.data.path is not None:
        changes["data"] = replace(
            job.data, path=paths.of("data.path", job.data.path, at["data"].value["path"])
        )
    if isinstance(job.model, BackboneSpec):
        changes["model"] = _backbone(job.model, at["model"].value, paths)
    if job.model is not None and job.train is None:
        changes["train"] = TrainSpec()
    return None if walker.problems else replace(job, **changes)


def _script_path(script: str, item: Located, paths: _Paths, walker: Walker) -> str:
    full = paths.of("script", script, item, "file")
    if not full.endswith((".py", ".ipynb")):
        walker.add(item, "script", f"expected a .py file or an .ipynb notebook; got {show(script)}")
    elif Path(full).is_dir():
        walker.add(item, "script", "is a folder; expected a .py file or an .ipynb notebook")
    return full


def _import_folders(
    texts: list[str], items: list[Located], paths: _Paths, walker: Walker
) -> list[str]:
    folders = []
    for number, (text, item) in enumerate(zip(texts, items, strict=True)):
        key = f"pythonpath[{number}]"
        folder = paths.of(key, text, item, "folder")
        folders.append(folder)
        if os.path.isfile(folder):
            walker.add(item, key, "is a file; expected a folder to import from")
        elif '"' in folder:
            walker.add(item, key, "cannot have a quotation mark in it")
    return folders


def _backbone(model: BackboneSpec, items: dict[str, Located], paths: _Paths) -> BackboneSpec:
    changes: dict[str, Any] = {}
    for key in ("weights", "features_cache"):
        text = getattr(model, key)
        if text not in (None, "imagenet", "none"):
            changes[key] = paths.of(f"model.{key}", str(text), items[key])
    return replace(model, **changes)


def _why_not_there(path: Path, text: str) -> str:
    """What a path that is not there may have been meant as."""
    if nobodys_home(text):
        return f": {nobodys_home(text)}"
    if path.is_symlink():
        return f": it is a link to {os.readlink(path)}, which is not there"
    if set(path.name) & set("*?["):
        return ": names are taken as they are, without * and ?; name each file, or their folder"
    return ""


def _typed_path(full: Path, walker: Walker, item: Located, key: str) -> Path:
    """The path of a ``--set``: it starts at the job file's folder, or where it is typed.

    A shipped job's folder is nowhere that the user knows, so there it starts where it is typed.

    Args:
        full: the path from the job file's folder.
        walker: where a path of two meanings is reported.
        item: the value.
        key: its key.
    """
    text = os.path.expanduser(str(item.raw))
    here = Path.cwd() / text
    if full.is_relative_to(shipped.folder("jobs").resolve()):
        return here
    if not os.path.exists(here) or full == here:
        return full
    if os.path.exists(full) and not os.path.samefile(full, here):
        walker.add(item, key, f"is a path in two folders; say which: {full} or {here}")
    return full if os.path.exists(full) else here
