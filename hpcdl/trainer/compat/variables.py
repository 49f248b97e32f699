"""The variables that training changes: of the model, the optimizer and the metrics."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

import numpy as np
import tensorflow as tf

from hpcdl.trainer.compat.versions import is_keras_3


def tensorflow_variable(variable: Any) -> Any:
    """The TensorFlow variable behind a Keras one: in Keras 2 they are the same.

    tf.keras.Variable does not tell them apart: in some versions of Keras 3, a model's variables are
    not of that class.
    """
    if isinstance(variable, tf.Variable):
        return variable
    return getattr(variable, "value", variable)


class Variable(NamedTuple):
    """One variable that training changes.

    own: each replica may hold another value: metrics, and what layers gather (see
        `average_replicas`).
    of_model: the model needs it to give its answers. It does not need the optimizer's and the
        metrics' variables.
    """

    name: str
    variable: Any
    own: bool
    of_model: bool


def variables(model: Any) -> List[Variable]:
    """Everything that training changes, each once, in a fixed order: model, optimizer, metrics."""
    shared = [*model.trainable_variables, *optimizer_variables(model.optimizer)]
    every = [*model.variables, *shared]
    for metric in model.metrics:
        every += metric.variables
    once: Dict[int, Any] = {}
    for variable in every:
        once.setdefault(id(variable), variable)
    of_model = set(map(id, model.variables))
    of_all_replicas = set(map(id, shared))
    changed = []
    for key, variable in once.items():
        name = str(getattr(variable, "path", variable.name))
        own = key not in of_all_replicas
        changed.append(Variable(name, tensorflow_variable(variable), own, key in of_model))
    return changed


def name_of(variable: Any) -> str:
    """A weight's name with its layer's: ``dense/kernel``."""
    return str(getattr(variable, "path", variable.name)).partition(":")[0]


def kernels(model: Any) -> List[Any]:
    """The kernels of a model that train: weights of two or more dimensions, named so by Keras.

    Its layers call them kernel, depthwise_kernel, recurrent_kernel and so on.
    """
    trained = []
    for weight in model.trainable_weights:
        if len(weight.shape) >= 2 and "kernel" in name_of(weight).rpartition("/")[2]:
            trained.append(weight)
    return trained


def inner_optimizer(optimizer: Any) -> Any:
    """The optimizer itself, if mixed_float16 has wrapped it in one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def optimizer_variables(optimizer: Any) -> List[Any]:
    """The optimizer's own variables, and the scale of the loss and its counter."""
    inner = inner_optimizer(optimizer)
    own = inner.variables
    own = list(own() if callable(own) else own)
    if inner is optimizer:
        return own
    if is_keras_3():
        return [*own, optimizer.dynamic_scale, optimizer.step_counter]
    if not optimizer.dynamic:  # the user has fixed the scale: it is a plain number
        return own
    scale = optimizer._loss_scale
    return [*own, scale.current_loss_scale, scale.counter]


def average_replicas(model: Any, together: Any) -> None:
    """Give all replicas the mean of what their layers gathered: normalisation's moving averages.

    Until then each replica reads its own, in Keras 2 and 3, and Keras 3 saves those of the first
    replica alone. Moving averages are linear, so that their mean is the same whenever it is taken.

    Args:
        model: all workers call this for the same one.
        together: the replicas; see `hpcdl.trainer.runtime.together.Together`.
    """
    if together.replicas == 1:
        return
    targets = []
    for variable in model.non_trainable_variables:
        if tf.as_dtype(variable.dtype).is_floating:
            targets.append(tensorflow_variable(variable))
    if together.alone:
        for target in targets:
            copies = together.strategy.experimental_local_results(target)
            values = [tf.identity(copy) for copy in copies]
            target.assign(tf.add_n(values) / len(values))
        return
    for target, everywhere in zip(targets, together.all_copies(targets)):
        mean = np.mean(everywhere, axis=0, dtype=np.float64).astype(everywhere[0].dtype)
        for copy in together.strategy.experimental_local_results(target):
            copy.assign(mean)
