"""Giving a model its optimizer, loss and metric; checking one that the user has compiled."""

from __future__ import annotations

import re
from typing import Any, Optional

import tensorflow as tf

from hpcdl.contract.errors import UserCodeError
from hpcdl.contract.spec import ModelSpec, OptimizerSpec, TrainSpec
from hpcdl.trainer import compat
from hpcdl.trainer.model import distilled

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
        ValueError: the optimizer does not take one of the settings.
    """
    settings = {
        "learning_rate": spec.learning_rate,
        "momentum": spec.momentum,
        "nesterov": spec.nesterov,
        "weight_decay": spec.weight_decay,
        "global_clipnorm": spec.clip_norm,
    }
    set_ones = {name: value for name, value in settings.items() if value is not None}
    return getattr(tf.keras.optimizers, _OPTIMIZERS[spec.name])(**set_ones)


def loss(from_logits: bool, label_smoothing: float, labels: str = "integers") -> Any:
    """The cross-entropy of class numbers, or of one-hot rows.

    Keras's own cross-entropy of class numbers does not have label smoothing.
    """
    if labels == "one_hot":
        return tf.keras.losses.CategoricalCrossentropy(
            from_logits=from_logits, label_smoothing=label_smoothing
        )
    if not label_smoothing:
        return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)

    def smoothed_crossentropy(labels: Any, outputs: Any) -> Any:
        numbers = tf.cast(tf.reshape(labels, [-1]), tf.int32)
        one_hot = tf.one_hot(numbers, outputs.shape[-1])
        return tf.keras.losses.categorical_crossentropy(
            one_hot, outputs, from_logits=from_logits, label_smoothing=label_smoothing
        )

    return smoothed_crossentropy


def compile_model(
    model: Any, model_spec: ModelSpec, train: TrainSpec, replicas: int, classes: int
) -> None:
    """Compile a model for the run's labels, unless it came compiled, and build its optimizer.

    Without XLA, which Keras would use by itself: see `steps.Stepper`.

    Raises:
        UserCodeError: the model came compiled with a loss for other labels, or has too few outputs.
    """
    if compat.is_compiled(model):
        _refuse_own_loss(model_spec, train)
        _check_compiled(model, model_spec, train.labels, classes)
    else:
        from_logits = model_spec.output == "logits"
        model.compile(
            optimizer=optimizer(train.optimizer),
            loss=_training_loss(train, from_logits),
            metrics=[_accuracy(train.labels) if train.distill is None else distilled.accuracy()],
            jit_compile=False,
        )
    if replicas > 1:
        compat.judge_all_replicas_together(model.optimizer, replicas)
        compat.add_up_gradients(model.optimizer, replicas)  # before it judges them
    compat.build_optimizer(model)


def _training_loss(train: TrainSpec, from_logits: bool) -> Any:
    """The loss that a model trains with: by a teacher, too, if it has one."""
    if train.distill is not None:
        return distilled.loss(train.distill, from_logits, train.label_smoothing)
    return loss(from_logits, train.label_smoothing, train.labels)


def _refuse_own_loss(spec: ModelSpec, train: TrainSpec) -> None:
    """Refuse distillation of a model that came compiled."""
    if train.distill is None:
        return
    message = "the model of {} came compiled with its own loss; train.distill has another"
    raise UserCodeError(
        message.format(getattr(spec, "function", "")), "return the model uncompiled"
    )


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
    """Refuse a loss for other labels, and outputs that are not one for each class.

    Otherwise the first step would fail with a riddle, and on GPUs a class beyond the outputs would
    not even be an error.
    """
    name = getattr(spec, "function", model.name)
    expected_labels = labels_of_loss(model.loss)
    if expected_labels is None:
        return
    one_hot = labels == "one_hot"
    if expected_labels != labels:
        message = "the model of {} came compiled with {}, which takes {}; train.labels is {}"
        message = message.format(
            name, _loss_name(model.loss), expected_labels.replace("_", "-"), labels
        )
        fitting = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
        remedy = "set train.labels: {}, or compile it with {}".format(expected_labels, fitting)
        raise UserCodeError(message, remedy)
    outputs = _outputs(model)
    if outputs is None or outputs == classes or (outputs > classes and not one_hot):
        return
    message = (
        "the model of {} has {} outputs, but the data set has {} classes; expected one for each"
    )
    raise UserCodeError(message.format(name, outputs, classes))


def _outputs(model: Any) -> Optional[int]:
    """How many values a model gives for an image; None if they are not one row of values."""
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2:
        return None
    return shape[-1] if isinstance(shape[-1], int) else None


def labels_of_loss(loss: Any) -> Optional[str]:
    """The train.labels that a compiled model's loss is for; None if its name does not say."""
    name = _loss_name(loss)
    if re.search("sparse_categorical", name):
        return "integers"
    return "one_hot" if re.search("categorical_(focal_)?crossentropy", name) else None


def takes_logits(loss: Any) -> Optional[bool]:
    """Whether a compiled model's cross-entropy is one of logits; None if that is not known."""
    if "crossentropy" not in _loss_name(loss):
        return None
    if isinstance(loss, tf.keras.losses.Loss):
        value = loss.get_config().get("from_logits")
        return value if isinstance(value, bool) else None
    if isinstance(loss, str) or "keras" in str(getattr(loss, "__module__", "")):
        return False  # Keras's own functions take probabilities by default
    return None


def _loss_name(loss: Any) -> str:
    """A loss's name as Keras's functions have them; empty for several losses.

    Args:
        loss: a word, a function or an instance.
    """
    if not isinstance(loss, str):
        loss = getattr(loss, "name", None) or getattr(loss, "__name__", "")
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", str(loss)).lower()
