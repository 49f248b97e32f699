"""The binds that a job needs besides its own: where links lead, and what its program names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpcdl.contract.spec import RunSpec
from hpcdl.errors import UserError
from hpcdl.job import Job
from hpcdl.mounts.gathering import Gather, Shown, Unseen
from hpcdl.mounts.staged_sets import linked
from hpcdl.planning import Plan, Script
from hpcdl.staging import MODELS
from hpcdl.usercode.folders import python_files
from hpcdl.usercode.named_paths import Named, names_in
from hpcdl.usercode.source import NOTEBOOK, read_source
from hpcdl.usercode.user_files import user_files

# Options and variables that name places to write, such as --output-dir, --logdir and TMPDIR
_FOR_OUTPUT = re.compile(
    r"(?i)out|log|save|dest|result|export|checkpoint|ckpt|tmp|temp|cache|scratch"
)
_NO_FILES = (None, "imagenet", "none")  # what model.weights may be besides a file


def with_shown(
    plan: Plan, job: Job, spec: RunSpec | None, own: Sequence[str], here: str | None = None
) -> tuple[Plan, list[Unseen]]:
    """The plan with the binds that its paths and its program need, and what cannot be shown.

    Args:
        plan: the plan; without a container it stays as it is.
        job: its job.
        spec: what is trained; None for a script.
        own: what is bound anyway, such as the run folder.
        here: the folder that the program starts in, if that is the user's own.
    """
    container, program = plan.container, plan.program
    if container is None:
        return plan, []
    sources = programs(job)
    shown = look(plan, job, spec, own, here, sources)
    names, complete = linked(Path(plan.data_root), sources.values())
    if isinstance(program, Script) and not complete:
        program = replace(program, sets=names)
    container = replace(container, shown=shown.binds)
    notes = [*plan.notes, *shown.notes]
    return replace(plan, container=container, program=program, notes=notes), shown.unseen


def for_render(
    plan: Plan,
    job: Job,
    spec: RunSpec | None,
    bundle: bool,
) -> tuple[Plan, list[Unseen]]:
    """`with_shown` for a batch script that hpcdl does not start itself.

    Args:
        plan: the plan.
        job: its job.
        spec: what is trained; None for a script.
        bundle: whether the script lies in a folder with all that it needs; else it runs next to
            the user's files.
    """
    if bundle:
        return with_shown(plan, job, spec, [plan.program.workdir] if plan.program.workdir else [])
    here = plan.program.workdir or job.folder
    own = [here]
    if isinstance(plan.program, Script) and os.path.isabs(plan.program.script):
        own.append(os.path.dirname(plan.program.script))
    return with_shown(plan, job, spec, own, here)


def look(
    plan: Plan,
    job: Job,
    spec: RunSpec | None,
    own: Sequence[str],
    here: str | None,
    sources: Mapping[str, str],
) -> Shown:
    """What `with_shown` finds. All paths of the job first, then what its programs' text names."""
    training = asdict(spec) if spec else {}
    gather = Gather(plan, [*own, *_folders_of(plan)])
    for key, path in training_paths(training):
        gather.need(path, key, blocks=True)
        gather.links_in(path, key)
    for number, root in enumerate(plan.environment.pythonpath):
        gather.links_in(root, f"pythonpath[{number}]")
    working = plan.program.workdir or here
    if working and isinstance(plan.program, Script):
        gather.links_right_in(working, "workdir" if plan.program.workdir else "script")
    gather.links_right_in(plan.data_root, "")
    gather.links_right_in(f"{plan.data_root}/{MODELS}", "")
    if here:
        with suppress(UserError):
            for file in user_files(job):
                gather.need(str(file), "files")
    for place, key, named in named_paths(job, sources):
        gather.named(place, key, named)
    return gather.shown


def _folders_of(plan: Plan) -> list[str]:
    """The folders that are bound for a plan by themselves."""
    folders = [plan.data_root, *plan.program.reads, *plan.environment.pythonpath]
    return [f"{folder}:{folder}:ro" for folder in folders]


def training_paths(training: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The files and folders that a training reads, by their keys.

    Args:
        training: run.json, or ``{}``.
    """
    data, model = training.get("data"), training.get("model")
    if isinstance(data, dict) and data.get("path"):
        yield "data.name" if data.get("name") else "data.path", str(data["path"])
    yield from _other_runs(training)
    if not isinstance(model, dict) or "backbone" not in model:
        return
    if model.get("weights") not in _NO_FILES:
        yield "model.weights", str(model["weights"])


def _other_runs(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The folders of the runs, or of their folds, whose models a training uses."""
    start, train = training.get("start"), training.get("train")
    if isinstance(start, dict):
        yield "model.start", str(Path(start["model"]).parents[1])
    distill = train.get("distill") if isinstance(train, dict) else None
    if isinstance(distill, dict):
        for file in distill["teacher"]:
            yield "train.distill.teacher", str(Path(file).parents[1])


def programs(job: Job) -> dict[str, str]:
    """The job's Python files, by the names they are frozen under; none of hpcdl's own.

    What cannot be read is left out: another check reports it.
    """
    sources: dict[str, str] = {}
    with suppress(UserError, OSError):
        for path, name in user_files(job).items():
            if Path(name).parts[:1] == ("hpcdl",):
                continue
            if path.is_dir():
                for file in python_files(path):
                    sources[f"{name}/{file.relative_to(path)}"] = read_source(file)
            elif path.suffix == NOTEBOOK and str(path) == job.script:
                from hpcdl.usercode.notebook import script_of

                sources[name] = script_of(path)
            elif path.suffix == ".py":
                sources[name] = read_source(path)
    return sources


def named_paths(
    job: Job, sources: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str, Named]]:
    """What the job's programs, arguments and variables name: the place, the job's key, the name.

    Args:
        job: the job.
        sources: its `programs`, if the caller has read them already.
    """
    if sources is None:
        sources = programs(job)
    first = "script" if job.script else next(iter(job.functions), "files")
    for file, source in sources.items():
        for named in names_in(source):
            yield f"{file}:{named.line}", first, named
    option = ""
    for number, argument in enumerate(job.args):
        if argument.startswith("-"):
            option, _, text = argument.partition("=")
        else:
            text = argument
        if text:
            written = bool(_FOR_OUTPUT.search(option))
            yield f"args[{number}]", f"args[{number}]", Named(text, 0, True, written)
            option = ""
    for variable, value in job.env.items():
        for text in value.split(":"):
            if text.startswith("/"):
                written = bool(_FOR_OUTPUT.search(variable))
                yield f"env.{variable}", f"env.{variable}", Named(text, 0, True, written)
