"""The models of a prediction, loaded as docs/use-the-model.md does it, and their mean."""

from __future__ import annotations

import importlib
import os
from typing import Any, Callable, Dict, List

import numpy as np
import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.errors import InternalError, TrainingError, UserCodeError
from hpcdl.contract.predict_spec import Member, PredictSpec
from hpcdl.contract.spec import RunSpec
from hpcdl.trainer import compat
from hpcdl.trainer.model import models, needed_modules
from hpcdl.trainer.model.own_code import own_code
from hpcdl.trainer.model.precision import set_precision

_WHITE_OF_FILES = 255.0
_BATCH = 32  # images that the model sees at once


class Ensemble:
    """One or several models, whose mean probabilities are the answer.

    Args:
        spec: the prediction.

    Raises:
        UserCodeError: a model cannot be loaded without the user's code, which fails.
        InternalError: a model cannot be loaded, or is none of these classes.
    """

    def __init__(self, spec: PredictSpec) -> None:
        self._classes = len(spec.classes)
        self._models: List[Any] = []
        answers = []
        for member in spec.members:
            with own_code(member.user):
                answers.append(self._answer_of(member))
        self._mean = _mean_of(answers)

    def __call__(self, images: Any) -> Any:
        """The probabilities of images.

        Args:
            images: uint8 (rows, height, width, channels).

        Returns:
            float32 (rows, classes).
        """
        parts = [np.empty((0, self._classes), np.float32)]
        for start in range(0, len(images), _BATCH):
            parts.append(self._mean(tf.constant(images[start : start + _BATCH])).numpy())
        return np.concatenate(parts)

    def _answer_of(self, member: Member) -> Callable[[Any], Any]:
        """The function from uint8 images to probabilities, traced while the user's code is here."""
        model = _load(member, self._classes)
        self._models.append(model)  # TensorFlow holds its variables only weakly
        scale = member.white / _WHITE_OF_FILES

        def answer(images: Any) -> Any:
            images = tf.cast(images, tf.float32)
            if scale != 1:
                images *= scale
            outputs = tf.cast(model(images, training=False), tf.float32)
            return tf.nn.softmax(outputs) if member.output == "logits" else outputs

        shape = tf.TensorSpec([None, *member.shape], tf.uint8)
        file = os.path.join(member.run, member.file)
        try:
            traced = tf.function(answer).get_concrete_function(shape)
        except (MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            message = "{} cannot be used: {}: {}".format(file, type(error).__name__, error)
            raise InternalError(message) from error
        if traced.output_shapes.rank != 2 or traced.output_shapes[1] != self._classes:
            raise InternalError(
                "{} gives {} for each batch; expected (rows, {})".format(
                    file, traced.output_shapes, self._classes
                )
            )
        return traced  # type: ignore[no-any-return]


def _mean_of(answers: List[Callable[[Any], Any]]) -> Any:
    def mean(images: Any) -> Any:
        return tf.add_n([answer(images) for answer in answers]) / len(answers)

    return answers[0] if len(answers) == 1 else tf.function(mean)


def _load(member: Member, classes: int) -> Any:
    path = os.path.join(member.run, member.file)
    try:
        if member.weights_only:
            return _built(member, classes, path)
        objects = _own_objects(member)
        return compat.load_model(path, objects, trusted=not member.safe_mode)
    except (TrainingError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        message = "{} cannot be loaded: {}".format(path, reason)
        if member.needs:
            raise UserCodeError(message, "it needs {}".format(", ".join(member.needs))) from error
        hint = "the image must have the TensorFlow that trained it"
        raise InternalError(message, hint) from error


def _own_objects(member: Member) -> Dict[str, Any]:
    """The classes and functions of the files that the model needs, by name."""
    modules = []
    for need in member.needs:
        name = need[: -len(".py")] if need.endswith(".py") else need
        name = name.replace("/", ".")
        if name.endswith(".__init__"):
            name = name[: -len(".__init__")]
        modules.append(importlib.import_module(name))
    return needed_modules.own_objects(modules)


def _built(member: Member, classes: int, weights: str) -> Any:
    """The model that the user's function builds, with the saved weights."""
    with open(os.path.join(member.run, run_files.SPEC), encoding="utf-8") as file:
        run = RunSpec.from_json(file.read())
    set_precision(run.train.precision)
    model = models.build(run.model, tuple(member.shape), classes)
    model.load_weights(weights)
    return model
