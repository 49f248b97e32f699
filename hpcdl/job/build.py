"""Turns a job document into a `Job`: filled, checked, and with absolute paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.contract.spec import (
    MODELS,
    BackboneSpec,
    DistillSpec,
    FunctionSpec,
    MlpSpec,
    TrainSpec,
)
from hpcdl.errors import Problem
from hpcdl.image_address import not_a_file
from hpcdl.job.checks import check_job
from hpcdl.job.command import small_resources, with_words
from hpcdl.job.from_run import FromRun
from hpcdl.job.notify_section import NotifySection
from hpcdl.job.paths import Paths
from hpcdl.job.sbatchoptions import with_flags
from hpcdl.job.sections import Job
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_KINDS_OF_MODELS = (
    f"expected {{name: {'|'.join(sorted(MODELS))}}}, {{backbone: MobileNetV2|...}}, {{start: RUN}} "
    "or {function: package.module:function}"
)


def build(document: Located, folder: Path, source: str, problems: list[Problem]) -> Job | None:
    """Make a Job of a document, or add problems and return None.

    Args:
        document: the job file.
        folder: the folder where it lies.
        source: how scripts and messages call it.
        problems: where problems are added.
    """
    walker = Walker(problems, {MlpSpec: _model})  # MlpSpec stands for the union of all models
    job = walker.fill(Job, with_words(with_flags(document), problems))
    if job is not None:
        check_job(job, document, walker)
    if job is None or problems:
        return None
    changes = _resolved(job, document, Paths(folder, document, walker))
    if problems:
        return None
    places = document.places()
    return replace(job, source=source, folder=str(folder), places=places, **changes)


def _model(walker: Walker, item: Located, key: str) -> Any:
    """One of the model sections, by its name, its backbone or its function."""
    if not isinstance(item.value, dict):
        walker.refuse(item, key, f"{_KINDS_OF_MODELS}; got {show(item.plain())}")
        return None
    if "start" in item.value:
        return _from_run(walker, item, key)
    if "function" in item.value:
        return walker.fill(FunctionSpec, item, key)
    if "backbone" in item.value:
        return walker.fill(BackboneSpec, item, key)
    name = item.value.get("name")
    if name is None:
        walker.refuse(item, key, _KINDS_OF_MODELS)
        return None
    if str(name.value) not in MODELS:
        close = did_you_mean(str(name.value), MODELS)
        walker.add(name, f"{key}.name", f"{_KINDS_OF_MODELS}; got {show(name.plain())}{close}")
        walker.refused.add(key)
        return None
    return walker.fill(MODELS[name.value], item, key)


def _from_run(walker: Walker, item: Located, key: str) -> FromRun | None:
    """A section with ``start``, with its other keys, which must have their own types."""
    rest = Located(
        {name: inner for name, inner in item.value.items() if name != "start"}, item.where
    )
    start = walker.fill(FromRun, Located({"start": item.value["start"]}, item.where), key)
    if start is None or not rest.value:
        return start
    model = _model(walker, rest, key)
    if model is None:
        return None
    return replace(start, rest={name: getattr(model, name, None) for name in rest.value})


def _resolved(job: Job, document: Located, paths: Paths) -> dict[str, Any]:
    """The fields of a job that change once its paths are absolute."""
    changes: dict[str, Any] = {"notify": _notify(job.notify, paths)}
    if job.cluster:
        # These values keep their places: they join the profile's.
        changes["cluster"] = document.at("cluster").value
    if job.hpcdl:
        changes["resources"] = small_resources(job.resources, document)
    if job.script is not None:
        changes["script"] = _script_path(job.script, paths)
    if job.workdir is not None:
        changes["workdir"] = paths.absolute("workdir", job.workdir, "folder")
        changes["workdir_text"] = job.workdir
    changes["files"] = []
    for number, text in enumerate(job.files):
        changes["files"].append(paths.absolute(f"files[{number}]", text, "file"))
    if job.packages is not None:
        changes["packages"] = paths.absolute("packages", job.packages, "file")
        changes["requirements"] = _requirements(changes["packages"], paths)
    changes["pythonpath"] = _each(_import_folder, "pythonpath", job.pythonpath, paths)
    changes["after"] = _each(_run_before, "after", job.after, paths)
    changes["container"] = _container(job.container, paths)
    if job.data is not None and job.data.path is not None:
        path = paths.absolute("data.path", job.data.path)
        changes["data"] = replace(job.data, path=path)
    changes["model"] = _model_with_paths(job.model, paths)
    if job.train is not None and job.train.distill is not None:
        changes["train"] = _with_teachers(job.train, job.train.distill, paths)
    if job.model is not None and job.train is None:
        changes["train"] = TrainSpec()
    return changes


def _model_with_paths(model: Any, paths: Paths) -> Any:
    """The section `model` with its paths absolute."""
    if isinstance(model, BackboneSpec):
        return _backbone(model, paths)
    if isinstance(model, FromRun):
        return replace(model, start=_run_named("model.start", model.start, paths))
    return model


def _each(
    resolve: Callable[[str, str, Paths], str], key: str, texts: Sequence[str], paths: Paths
) -> list[str]:
    """The texts of a list, each as a function makes it absolute."""
    absolute = []
    for number, text in enumerate(texts):
        absolute.append(resolve(f"{key}[{number}]", text, paths))
    return absolute


def _script_path(script: str, paths: Paths) -> str:
    full = paths.absolute("script", script, "file")
    if not full.endswith((".py", ".ipynb")):
        paths.add("script", f"expected a .py file or an .ipynb notebook; got {show(script)}")
    elif os.path.isdir(full):
        paths.add("script", "is a folder; expected a .py file or an .ipynb notebook")
    return full


def _requirements(path: str, paths: Paths) -> list[str]:
    """The lines of a requirements file, if it is there."""
    if not os.path.exists(path):  # which was reported
        return []
    from hpcdl.job.requirements import read_requirements  # most jobs have none

    requirements, messages = read_requirements(Path(path))
    for message in messages:
        paths.add("packages", message)
    return requirements


def _notify(notify: NotifySection | None, paths: Paths) -> NotifySection | None:
    """The section with its program absolute, if that is a path; else PATH has the program."""
    if notify is None or "/" not in "".join(notify.command[:1]):
        return notify
    program = paths.absolute("notify.command", notify.command[0], "file")
    return replace(notify, command=[program, *notify.command[1:]])


def _import_folder(key: str, text: str, paths: Paths) -> str:
    folder = paths.absolute(key, text, "folder")
    if os.path.isfile(folder):
        paths.add(key, "is a file; expected a folder to import from")
    elif '"' in folder:
        paths.add(key, "cannot have a quotation mark in it")
    return folder


def _run_before(key: str, text: str, paths: Paths) -> str:
    """A run's path as an absolute one; its id or name as it is."""
    if not text.removesuffix(":any").strip():
        paths.add(key, "is empty; expected a run's path, id or name")
    return _path_or_name(key, text, paths)


def _run_named(key: str, text: str, paths: Paths) -> str:
    """The same of a run whose model is used."""
    if not text.strip():
        paths.add(key, "is empty; expected a run's path, id or name (is a shell variable not set?)")
        return text
    return _path_or_name(key, text, paths)


def _with_teachers(train: TrainSpec, distill: DistillSpec, paths: Paths) -> TrainSpec:
    """The section `train` with the teachers' paths absolute."""
    key = "train.distill.teacher"
    if isinstance(distill.teacher, str):
        return replace(
            train, distill=replace(distill, teacher=_run_named(key, distill.teacher, paths))
        )
    teachers = _each(_run_named, key, distill.teacher, paths)
    return replace(train, distill=replace(distill, teacher=teachers))


def _path_or_name(key: str, text: str, paths: Paths) -> str:
    if text.startswith(("/", "./", "../", "~", "$")):
        return paths.absolute(key, text)
    return text


def _container(container: str, paths: Paths) -> str:
    """A path to an image as an absolute one; a name of one of the cluster's images as it is."""
    address = not_a_file(container)
    if address:
        paths.add("container", address)
        return container
    if "/" in container or "$" in container or container.endswith(".sif"):
        return paths.absolute("container", container)
    return container


def _backbone(model: BackboneSpec, paths: Paths) -> BackboneSpec:
    changes: dict[str, Any] = {}
    for name in ("weights", "features_cache"):
        text = getattr(model, name)
        if text not in (None, "imagenet", "none"):
            changes[name] = paths.absolute(f"model.{name}", str(text))
    return replace(model, **changes)
