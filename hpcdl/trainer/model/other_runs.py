"""Saved models of other runs: the one that a model starts from, and the teachers of one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List

import numpy as np
import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.errors import DataError, UserCodeError
from hpcdl.contract.model_facts import misfits
from hpcdl.trainer import compat
from hpcdl.trainer.dataset.load import Dataset
from hpcdl.trainer.files.hashes import sha256_of
from hpcdl.trainer.model import needed_modules
from hpcdl.trainer.model.distilled import logarithms


@dataclass(frozen=True)
class OtherModel:
    """The saved model of another run.

    key: where the run is named: model.start, or train.distill.teacher.
    path: its file.
    facts: what that run's result.json says.
    logits: whether it gives logits; else it gives probabilities.
    highest: the value of white in the images that it takes.
    """

    key: str
    path: str
    facts: Dict[str, Any]
    logits: bool
    highest: float


def find(key: str, path: str, sha256: str, dataset: Dataset) -> OtherModel:
    """The saved model of another run, if it is the one that was found before, and fits.

    Args:
        key: where the run is named.
        path: the model's file.
        sha256: of the file when the run was submitted; empty if nobody asked.
        dataset: the images that it gets.

    Raises:
        DataError: it is not there, or not the same, or is for other images or classes.
    """
    folder = os.path.dirname(os.path.dirname(path))
    try:
        digest = sha256_of(path)
        with open(os.path.join(folder, run_files.RESULT), encoding="utf-8") as file:
            facts = json.load(file)
        problems = misfits(facts, dataset.image_shape, dataset.classes, dataset.class_names)
        logits = facts["model"]["output"] == "logits"
        highest = float(facts["model"]["input"]["range"][1])
    except FileNotFoundError as error:
        message = "{}: {} is missing: the run whose model it was is removed, or not seen here"
        raise DataError(
            message.format(key, error.filename),
            "bring it back from a copy and resume, or submit the job again with another run",
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = "{}: the model {} of another run cannot be read: {}"
        raise DataError(message.format(key, path, error), "name a run that is there")
    if sha256 and digest != sha256:
        message = "{}: {} is not the file that was there when this run was submitted"
        raise DataError(message.format(key, path), "submit the job again")
    if problems:
        text = "\n".join("{}: {}: {}".format(key, path, problem) for problem in problems)
        raise DataError(text, "name a run that was trained on the same kind of images")
    return OtherModel(key, path, facts, logits, highest)


def load(other: OtherModel, own_objects: Dict[str, Any]) -> Any:
    """The model in a file, uncompiled.

    Raises:
        DataError: this image's Keras cannot load it.
    """
    trusted = other.facts["model"].get("safe_mode") is False
    try:
        return compat.load_model(other.path, own_objects, trusted)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).partition("\n")[0]
        message = "{}: Keras {} cannot load {}, which Keras {} wrote: {}".format(
            other.key,
            compat.keras_version(),
            other.path,
            other.facts.get("versions", {}).get("keras", "?"),
            first_line,
        )
        raise DataError(message, "use the container that the other run had")


def give_weights(other: OtherModel, model: Any) -> None:
    """Let a model begin with the weights of another run's.

    Raises:
        DataError: the file cannot be loaded.
        UserCodeError: the user's function builds another model than it did for that run.
    """
    if other.facts["model"].get("weights_only"):
        model.load_weights(other.path)
        return
    own_objects = needed_modules.own_objects(needed_modules.own_modules(model))
    weights = load(other, own_objects).get_weights()
    shapes = [tuple(weight.shape) for weight in model.weights]
    if [weight.shape for weight in weights] != shapes:
        message = "model.start: the model of {} has other weights than this one"
        raise UserCodeError(message.format(other.path), "use the function that built it")
    model.set_weights(weights)


class Teachers:
    """What several models answer together: the mean of their probabilities.

    Made within the strategy's scope.

    Args:
        others: their files.
        image_shape: of the images.
    """

    def __init__(self, others: List[OtherModel], image_shape: Any) -> None:
        self._models = [load(other, {}) for other in others]
        self._others = others
        self._images = tf.TensorSpec([None, *image_shape], tf.float32)

    def answers(self, images: Any) -> Any:
        """The logarithm of the mean probability of each class, float32 (rows, classes).

        Args:
            images: float32 (rows, height, width, channels) in [0, 1].
        """
        each = []
        for model, other in zip(self._models, self._others):
            outputs = model(images * other.highest, training=False)
            each.append(logarithms(outputs, other.logits))
        return tf.reduce_logsumexp(tf.stack(each), axis=0) - float(np.log(len(each)))

    def graph(self) -> Any:
        """`answers` as one graph for batches of all lengths."""
        return tf.function(self.answers, input_signature=[self._images], autograph=False)
