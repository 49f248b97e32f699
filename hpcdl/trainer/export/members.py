"""The trained models of an export, read back from the files that their runs saved."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple

import tensorflow as tf

from hpcdl.contract.spec import RunSpec
from hpcdl.trainer import compat
from hpcdl.trainer.model import models, needed_modules
from hpcdl.trainer.model.model_file import SCALING
from hpcdl.trainer.model.own_code import own_code


@dataclass(frozen=True)
class Trained:
    """A trained model in a folder: of a run, or of a fold.

    run: its spec.
    folder: its folder, with result.json's files.
    result: the content of its result.json.
    code: where its user's files are, as in PYTHONPATH; empty: they can be imported already.
    """

    run: RunSpec
    folder: str
    result: Dict[str, Any]
    code: str = ""

    @property
    def file(self) -> str:
        """The path of its saved model."""
        return os.path.join(self.folder, self.result["model"]["file"])


class Member(NamedTuple):
    """One trained model.

    model: a Keras model of float32 images in [0, 1].
    file: the path of the file that it was read from.
    saved: what result.json says about that file.
    code: as `Trained.code`.
    """

    model: Any
    file: str
    saved: Dict[str, Any]
    code: str = ""

    @property
    def gives_logits(self) -> bool:
        """Whether its output wants a softmax."""
        return bool(self.saved["output"] == "logits")

    @property
    def is_whole(self) -> bool:
        """Whether the file holds the model, not its weights alone."""
        return not self.saved.get("weights_only")

    @property
    def largest(self) -> int:
        """What stands for white in images for the model in the file."""
        return int(self.saved["input"]["range"][1])

    def read(self) -> Any:
        """The model as it is in the file, with the scaling of its images."""
        modules = [importlib.import_module(_module_of(name)) for name in self.saved["needs"]]
        own_objects = needed_modules.own_objects(modules)
        return compat.load_model(self.file, own_objects, self.saved.get("safe_mode") is False)


def read_member(trained: Trained) -> Member:
    """Read a saved model."""
    member = Member(None, trained.file, trained.result["model"], trained.code)
    with own_code(trained.code):
        if member.is_whole:
            return member._replace(model=_without_scaling(member.read()))
        model = _built(trained.run, trained.result)
    model.load_weights(member.file)
    return member._replace(model=model)


def in_float32(trained: Trained, member: Member) -> Member:
    """The same model, computing in float32: built again, with the trained weights.

    Args:
        trained: where it is from.
        member: what was read from there.
    """
    if trained.result["precision"] == "float32":
        return member
    tf.keras.mixed_precision.set_global_policy("float32")
    with own_code(trained.code):
        model = _built(trained.run, trained.result)
    model.set_weights(member.model.get_weights())
    return member._replace(model=model)


def _built(run: RunSpec, result: Dict[str, Any]) -> Any:
    """The model of a run with the weights that it began with."""
    data = result["data"]
    return models.build(run.model, tuple(data["image_shape"]), data["classes"])


def _module_of(file: str) -> str:
    """The module of a file's name as `needed_modules.file_names` gives it."""
    for ending in ("/__init__.py", ".py"):
        if file.endswith(ending):
            file = file[: -len(ending)]
    return file.replace("/", ".")


def _without_scaling(model: Any) -> Any:
    """The model that was trained, where `model_file` put the scaling of the images in front."""
    names: List[str] = [layer.name for layer in model.layers]
    return model.layers[-1] if SCALING in names[:-1] else model
