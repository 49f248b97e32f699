"""Giving a model its optimizer, loss and metric, and what a compiled one must be like for the labels."""

from __future__ import annotations

import re
from typing import Any, Optional

import tensorflow as tf

from hpcdl.contract.errors import UserCodeError
from hpcdl.contract.spec import ModelSpec, OptimizerSpec, TrainSpec
from hpcdl.trainer import compat

_OPTIMIZERS = {
    "sgd": "SGD",
    "adam": "Adam",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "nadam": "Nadam",
}


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


def loss(from_logits: bool, label_smoothing: float, labels: str = "integers") -> Any:
    """The cross-entropy of class numbers, or of one-hot rows; Keras's own for numbers knows no label smoothing."""
    if labels == "one_hot":
        return tf.keras.losses.CategoricalCrossentropy(
            from_logits=from_logits, label_smoothing=label_smoothing
        )
    if not label_smoothing:
        return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)

    def smoothed_crossentropy(labels: Any, outputs: Any) -> Any:
        wanted = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), outputs.shape[-1])
        return tf.keras.losses.categorical_crossentropy(
            wanted, outputs, from_logits=from_logits, label_smoothing=label_smoothing
        )

    return smoothed_crossentropy


def compile_model(
    model: Any, model_spec: ModelSpec, train: TrainSpec, replicas: int, classes: int
) -> None:
    """Compile a model for the run's kind of labels, unless it came compiled; create the optimizer's variables.

    Without XLA, which Keras would use by itself: see `loop.Stepper`.

    Raises:
        UserCodeError: the model came compiled, with a loss for other labels, or has too few outputs.
    """
    if compat.is_compiled(model):
        _check_compiled(model, model_spec, train.labels, classes)
    else:
        from_logits = model_spec.output == "logits"
        model.compile(
            optimizer=optimizer(train.optimizer),
            loss=loss(from_logits, train.label_smoothing, train.labels),
            metrics=[_accuracy(train.labels)],
            jit_compile=False,
        )
    if replicas > 1:
        compat.judge_all_replicas_together(model.optimizer, replicas)
        compat.add_up_gradients(model.optimizer, replicas)  # before it judges them
    compat.build_optimizer(model)


def compile_to_save(model: Any, trained: Any, model_spec: ModelSpec, train: TrainSpec) -> None:
    """Compile a model for those who load it, with the trained one's optimizer and Keras's own loss.

    Label smoothing of class numbers is hpcdl's code, which must not be needed to load the model:
    it is left out.
    """
    smoothing = train.label_smoothing if train.labels == "one_hot" else 0.0
    model.compile(
        optimizer=trained.optimizer,
        loss=loss(model_spec.output == "logits", smoothing, train.labels),
        metrics=[_accuracy(train.labels)],
        jit_compile=False,
    )


def _accuracy(labels: str) -> Any:
    if labels == "one_hot":
        return tf.keras.metrics.CategoricalAccuracy(name="accuracy")
    return tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def _check_compiled(model: Any, spec: ModelSpec, labels: str, classes: int) -> None:
    """Say now what would otherwise be a riddle in the first step: on GPUs a class beyond the outputs is no error."""
    wanted, name = wanted_labels(model.loss), getattr(spec, "function", model.name)
    if wanted is None:
        return
    if wanted != labels:
        raise UserCodeError(
            "the model of {} came compiled with {}, which takes {}; train.labels is {}".format(
                name, _name(model.loss), wanted.replace("_", "-"), labels
            ),
            "set train.labels: {}, or compile it with {}".format(
                wanted,
                "categorical_crossentropy"
                if labels == "one_hot"
                else "sparse_categorical_crossentropy",
            ),
        )
    shape = getattr(model, "output_shape", None)
    outputs = shape[-1] if isinstance(shape, tuple) and len(shape) == 2 else None
    if isinstance(outputs, int) and (
        outputs != classes if labels == "one_hot" else outputs < classes
    ):
        raise UserCodeError(
            "the model of {} has {} outputs, but the data set has {} classes; expected one for each".format(
                name, outputs, classes
            )
        )


def wanted_labels(given: Any) -> Optional[str]:
    """What train.labels a compiled model's loss is for; None where its name does not say."""
    name = _name(given)
    if re.search("sparse_categorical", name):
        return "integers"
    return "one_hot" if re.search("categorical_(focal_)?crossentropy", name) else None


def takes_logits(given: Any) -> Optional[bool]:
    """Whether a compiled model's cross-entropy is one of logits; None where that cannot be told."""
    if "crossentropy" not in _name(given):
        return None
    if isinstance(given, tf.keras.losses.Loss):
        value = given.get_config().get("from_logits")
        return value if isinstance(value, bool) else None
    if isinstance(given, str) or "keras" in str(getattr(given, "__module__", "")):
        return False  # Keras's own functions take probabilities where nothing else is asked for
    return None


def _name(given: Any) -> str:
    """A loss's name as Keras's functions have them: of a word, a function or an instance; empty for several."""
    if not isinstance(given, str):
        given = getattr(given, "name", None) or getattr(given, "__name__", "")
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", str(given)).lower()
