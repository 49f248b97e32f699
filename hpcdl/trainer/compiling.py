"""Giving a model its optimizer, loss and metric."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.spec import ModelSpec, OptimizerSpec

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop", "adagrad": "Adagrad", "nadam": "Nadam"}


def optimizer(spec: OptimizerSpec) -> Any:
    """The Keras optimizer of a spec; a setting that is None keeps Keras's default.

    Raises:
        ValueError: when the optimizer does not take one of the settings.
    """
    given = {"learning_rate": spec.learning_rate, "momentum": spec.momentum, "nesterov": spec.nesterov}
    settings = {name: value for name, value in given.items() if value is not None}
    return getattr(tf.keras.optimizers, _OPTIMIZERS[spec.name])(**settings)


def compile_model(model: Any, model_spec: ModelSpec, optimizer_spec: OptimizerSpec) -> None:
    """Compile a model for class numbers as labels, unless it came compiled; create the optimizer's variables.

    No XLA: it makes small convolutions 2 to 4 times slower on CPUs, and the loop already
    runs many steps in one call.
    """
    if not compat.is_compiled(model):
        from_logits = model_spec.output == "logits"
        model.compile(
            optimizer=optimizer(optimizer_spec),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=False,
        )
    compat.build_optimizer(model)
