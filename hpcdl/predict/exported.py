"""Finds the exported models of runs, and what their images must be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl.contract.file_names import shown
from hpcdl.errors import RunError, UserError
from hpcdl.run import Run
from hpcdl.text import hpcdl_command

SCHEMA = 1  # of model.json
_MOST_NAMES = 10  # in a message


@dataclass(frozen=True)
class Exported:
    """A run's model for LiteRT.

    name: of the run.
    file: model.tflite.
    shape: (height, width, channels) of the images.
    rounds: whether the training rounded resized images to whole grey levels.
    class_names: by class number.
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    rounds: bool
    class_names: tuple[str, ...]


def exported_models(runs: Sequence[Run]) -> list[Exported]:
    """The models of runs, which take the same images and know the same classes.

    Raises:
        UserError: a run has no exported model, or they differ.
        RunError: model.json is damaged, or was written by a newer hpcdl.
    """
    _require_exported(runs)
    models = [_read(run) for run in runs]
    first = models[0]
    for model in models[1:]:
        if model.shape != first.shape:
            shapes = f"{_text(first.shape)} and {_text(model.shape)}"
            raise UserError(
                f"{first.name} and {model.name} take images of different shapes: {shapes}; expected"
                " the same; predict with each on its own"
            )
        if model.class_names != first.class_names:
            names = f"{_listed(first.class_names)}; and {_listed(model.class_names)}"
            raise UserError(
                f"{first.name} and {model.name} have different classes: {names}; expected the same,"
                " in the same order; predict with each on its own"
            )
    return models


def _require_exported(runs: Sequence[Run]) -> None:
    """Raise a UserError that names all runs without an exported model, and the command for each."""
    lines = []
    for run in runs:
        missing = [
            path.name
            for path in (run.paths.exported_model, run.paths.exported_about)
            if not path.is_file()
        ]
        if missing:
            names = " and ".join(missing)
            remedy = export_command(run.paths.root)
            lines.append(
                f"{run.name}: there is no {names} in {run.paths.export}; make it: {remedy}"
            )
    if lines:
        raise UserError("\n  ".join(["--here needs an exported model", *lines]))


def export_command(run_folder: Path) -> str:
    """The command that makes a run's model for LiteRT."""
    return hpcdl_command("export", run_folder, "--to", "tflite")


def _read(run: Run) -> Exported:
    """Read a run's model.json.

    Raises:
        RunError: it is damaged, or was written by a newer hpcdl.
    """
    path = run.paths.exported_about
    again = f"make it again: {export_command(run.paths.root)}"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        schema = about.get("schema_version", SCHEMA)
        if schema > SCHEMA:
            writer = about.get("hpcdl", "a newer one")
            raise RunError(f"{path} was written by hpcdl {writer}; update this one to read it")
        return _exported(run, about)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error!r}; {again}") from error


def _exported(run: Run, about: dict[str, Any]) -> Exported:
    """The facts of model.json, checked."""
    shape = tuple(int(size) for size in about["shape"])
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape is {list(shape)}; expected [height, width, channels]")
    if shape[2] not in (1, 3):
        raise UserError(
            f"{run.name} takes images of {shape[2]} channels; expected 1 (grey) or 3 (RGB):"
            " JPEG and PNG files hold no others"
        )
    if list(about["range"]) != [0, 1]:
        raise ValueError(f"range is {about['range']}; expected [0, 1]")
    names = tuple(str(name) for name in about["class_names"])
    rounds = bool(about["resize"].get("rounded", True))
    return Exported(run.name, run.paths.exported_model, shape, rounds, names)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(map(shown, names[:_MOST_NAMES]))
    if len(names) > _MOST_NAMES:
        text += f" and {len(names) - _MOST_NAMES} more"
    return text
