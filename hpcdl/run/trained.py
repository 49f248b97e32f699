"""What a run that is done gives to what comes after it: its saved model and its classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl.contract.predict_spec import Member
from hpcdl.contract.version import __version__
from hpcdl.errors import Problem
from hpcdl.files import read_json, sha256_file
from hpcdl.run import records, states
from hpcdl.run.exported import read_exported
from hpcdl.run.handle import Run
from hpcdl.run.paths import RunPaths, sweep_of
from hpcdl.run.result import Result
from hpcdl.text import hpcdl_command

_MOST_DIFFERENCE = 1e-5  # of a probability, between an exported model and the trained one


@dataclass(frozen=True)
class Trained:
    """The models of a run that is done: one, or of a cross-validation one for each fold.

    Args:
        run: the run.
        members: what the trainer must know to load them.
        classes: their names, by number; numbers where the set names none.
    """

    run: Run
    members: list[Member]
    classes: list[str]


def trained(run: Run, problems: list[Problem]) -> Trained | None:
    """What a run's model is, and takes.

    Args:
        run: the run.
        problems: why its model cannot be used, added to.

    Returns:
        None if there is a problem.
    """
    before = len(problems)
    for message in _why_not(run):
        problems.append(Problem(run.name, "", message))
    if len(problems) > before:
        return None
    data = _keys(run.paths)["data"]
    members = [_member(run.paths, part) for part in _parts(run.paths)]
    classes = data.get("class_names") or [str(number) for number in range(data["classes"])]
    return Trained(run, members, list(classes))


def _parts(paths: RunPaths) -> list[RunPaths]:
    """The folders with a model: the run's, or those of the folds of a cross-validation."""
    if "cross_validation" in _keys(paths):
        return paths.folds()
    return [paths]


def _keys(paths: RunPaths) -> dict[str, Any]:
    result = Result.read(paths)
    return {} if result is None else result.keys


def _member(paths: RunPaths, part: RunPaths) -> Member:
    """The model of a run, or of one of its folds."""
    model = _keys(part)["model"]
    return Member(
        run=str(paths.root),
        file=str((part.root / model["file"]).relative_to(paths.root)),
        shape=model["input"]["shape"],
        white=model["input"]["range"][1],
        output=model.get("output", "softmax"),
        user=str(paths.user),
        needs=model.get("needs", []),
        weights_only=bool(model.get("weights_only")),
        safe_mode=model.get("safe_mode") is not False,
        lite=_lite(paths) if part.root == paths.root else "",
    )


def _lite(paths: RunPaths) -> str:
    """The exported float32 model, if it answered all test images as the trained model did."""
    for exported in read_exported(paths):
        difference = exported.difference
        if exported.kind != "tflite" or exported.why or not exported.rows or difference is None:
            continue
        if difference > _MOST_DIFFERENCE:
            continue
        with suppress(OSError):  # without it, the saved model does the same
            if sha256_file(paths.exported_model) == exported.sha256:
                return str(paths.exported_model.relative_to(paths.root))
    return ""


def require_alike(
    models: list[Trained], problems: list[Problem], remedy: str = "predict with each run alone"
) -> None:
    """Several models have one mean only if they take the same images, and know the same classes.

    Args:
        models: of the runs.
        problems: why there is no mean, added to.
        remedy: what the user can do instead.
    """
    if not models:
        return
    first = models[0]
    for other in models[1:]:
        if other.classes != first.classes:
            message = (
                f"its classes are {_listed(other.classes)}; expected those of {first.run.name}:"
                f" {_listed(first.classes)}; {remedy}"
            )
            problems.append(Problem(other.run.name, "", message))
        shape, first_shape = other.members[0].shape, first.members[0].shape
        if shape != first_shape:
            message = (
                f"its model takes images of {_by(shape)}; expected those of {first.run.name},"
                f" {_by(first_shape)}; {remedy}"
            )
            problems.append(Problem(other.run.name, "", message))


def _why_not(run: Run) -> Iterator[str]:
    """Why the run's model cannot be used: the first reasons hide the others."""
    if sweep_of(run.paths) == run.paths.root:
        command = hpcdl_command("report", run.paths.root, "--text")
        yield f"is a sweep; give one of its trials: {command} lists them"
        return
    manifest = read_json(run.paths.manifest) or {}
    version = str(manifest.get("hpcdl", ""))
    if _numbers(version) > _numbers(__version__):
        yield f"was made by hpcdl {version}, and this is {__version__}: use that one, or a newer"
        return
    if not run.paths.spec.exists():
        yield "trained no model with hpcdl; expected a run of a job with data, model and train"
        return
    status = run.status(ask=False)
    if status.state != states.DONE:
        state = f"is {status.state}; expected a run that is done, whose model is saved"
        yield f"{state}: {hpcdl_command('status', run.paths.root)}"
        return
    for part in _parts(run.paths):
        keys = _keys(part)
        model = keys.get("model", {})
        if "file" not in model or "input" not in model or "data" not in keys:
            yield "saved no model, or result.json does not say what it takes; train it again"
            return
        file = part.root / model["file"]
        if not file.exists():
            yield f"its model {file} is gone (removed by hpcdl clean?); train it again"
        yield from _missing_code(run, model.get("needs", []))


def _missing_code(run: Run, needs: list[str]) -> Iterator[str]:
    """The user's files without which the model cannot be loaded."""
    environment = records.plan(run.paths).get("environment") or {}
    places = [run.paths.user, *map(Path, environment.get("pythonpath") or ())]
    for need in needs:
        if need.endswith(".py") and not any((place / need).exists() for place in places):
            yield (
                f"its model needs {need}, which is not in {run.paths.user} any more;"
                " put the file back there"
            )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _listed(classes: list[str]) -> str:
    names = ", ".join(classes[:5])
    return f"{names}, ... ({len(classes)})" if len(classes) > 5 else names


def _by(shape: list[int]) -> str:
    return "x".join(map(str, shape))
