"""Runs exported models with LiteRT: the mean of their probabilities."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.errors import RunError
from hpcdl.predict.exported import Exported, export_command

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LiteModels:
    """One exported model, or several of the same classes.

    Args:
        models: at least one.

    Raises:
        RunError: a file is damaged, or is not a model of these images and classes.
    """

    def __init__(self, models: Sequence[Exported]) -> None:
        self._models = [_LiteModel(model) for model in models]

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """The probabilities, float32 (classes,), of one float32 image in [0, 1]."""
        total = self._models[0](image)
        for model in self._models[1:]:
            total = total + model(image)
        return total / np.float32(len(self._models))


class _LiteModel:
    """A .tflite file that takes one float32 image."""

    def __init__(self, model: Exported) -> None:
        self._interpreter = _interpreter(model.file)
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        takes = tuple(map(int, self._input["shape"]))
        gives = tuple(map(int, self._output["shape"]))
        if takes != (1, *model.shape) or self._input["dtype"] != np.float32:
            kind = np.dtype(self._input["dtype"]).name
            raise RunError(
                f"{model.file} takes {kind} images of {takes}; expected float32 (1, *{model.shape})"
                f" as model.json says; {_again(model.file)}"
            )
        if gives != (1, len(model.class_names)):
            raise RunError(
                f"{model.file} gives {gives} values; expected one for each of the"
                f" {len(model.class_names)} classes of model.json; {_again(model.file)}"
            )

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        self._interpreter.set_tensor(self._input["index"], image[None])
        self._interpreter.invoke()
        values: NDArray[Any] = self._interpreter.get_tensor(self._output["index"])[0]
        return values


def _interpreter(file: Path) -> Any:
    """LiteRT's interpreter of a file.

    Raises:
        RunError: it cannot run the file.
    """
    content = file.read_bytes()
    try:
        with _silent():
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{file} cannot be run: {reason}; {_again(file)}") from error
    return interpreter


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """LiteRT talks on stderr, from C++; errors come as exceptions as well."""
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _again(file: Path) -> str:
    return f"make it again: {export_command(file.parent.parent)}"
