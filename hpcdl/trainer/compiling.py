"""Giving a model its optimizer, loss and metric."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.spec import ModelSpec, OptimizerSpec, TrainSpec

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop", "adagrad": "Adagrad", "nadam": "Nadam"}


def optimizer(spec: OptimizerSpec) -> Any:
    """The Keras optimizer of a spec; a setting that is None keeps Keras's default.

    Raises:
        ValueError: when the optimizer does not take one of the settings.
    """
    given = {
        "learning_rate": spec.learning_rate,
        "momentum": spec.momentum,
        "nesterov": spec.nesterov,
        "weight_decay": spec.weight_decay,
        "global_clipnorm": spec.clip_norm,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    return getattr(tf.keras.optimizers, _OPTIMIZERS[spec.name])(**settings)


def loss(from_logits: bool, label_smoothing: float) -> Any:
    """The cross-entropy of class numbers; Keras's own for them knows no label smoothing."""
    if not label_smoothing:
        return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)

    def smoothed_crossentropy(labels: Any, outputs: Any) -> Any:
        wanted = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), outputs.shape[-1])
        return tf.keras.losses.categorical_crossentropy(
            wanted, outputs, from_logits=from_logits, label_smoothing=label_smoothing
        )

    return smoothed_crossentropy


def compile_model(model: Any, model_spec: ModelSpec, train: TrainSpec, replicas: int) -> None:
    """Compile a model for class numbers as labels, unless it came compiled; create the optimizer's variables.

    No XLA: it makes small convolutions 2 to 4 times slower on CPUs, and the loop already
    runs many steps in one call.
    """
    if not compat.is_compiled(model):
        from_logits = model_spec.output == "logits"
        model.compile(
            optimizer=optimizer(train.optimizer),
            loss=loss(from_logits, train.label_smoothing),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=False,
        )
        if train.optimizer.clip_norm and replicas > 1:
            compat.clip_all_replicas_together(model.optimizer, replicas)
    compat.build_optimizer(model)
