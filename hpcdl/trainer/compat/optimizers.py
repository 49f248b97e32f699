"""Optimizers: their variables, their learning rate, and the gradients of several replicas."""

from __future__ import annotations

from typing import Any, Optional

import tensorflow as tf

from hpcdl.contract.errors import DeviceError
from hpcdl.trainer.compat.variables import (
    inner_optimizer,
    optimizer_variables,
    tensorflow_variable,
)
from hpcdl.trainer.compat.versions import is_keras_3, keras_release, keras_version


def build_optimizer(model: Any) -> None:
    """Create the optimizer's variables now: inside a loop or a replica it is too late."""
    optimizer = model.optimizer
    if not is_keras_3():  # there the wrapper that scales the loss does not have a build
        optimizer = inner_optimizer(optimizer)
    # Keras 2's legacy optimizers have no build
    build = getattr(optimizer, "build", None) or optimizer._create_all_weights
    build(model.trainable_variables)
    if optimizer is not model.optimizer and not hasattr(model.optimizer, "_variables"):
        # Saving reads this attribute of the wrapper, and Keras 2.11 does not set it.
        model.optimizer._variables = optimizer_variables(model.optimizer)


def add_up_gradients(optimizer: Any, replicas: int) -> None:
    """Let an optimizer of several replicas take the gradients' mean over the batch.

    Keras 2 and Keras 3.8 do so. Keras 3.2 to 3.7 adds up the replicas' mean gradients: the sum is
    too large by the number of replicas. Keras 3.2 to 3.4 leaves that to a moment when all replicas
    meet, as those on CPUs do, and then does not do it.

    Raises:
        DeviceError: Keras 3.0 and 3.1 do not add them up at all: each replica would train a model.
    """
    if not (3, 0) <= keras_release() < (3, 8):
        return
    if keras_release() < (3, 2):
        raise DeviceError(
            "Keras {} does not add up the gradients of several replicas".format(keras_version()),
            "train on one GPU, or in an image with Keras 2, or 3.2 and newer",
        )
    inner = inner_optimizer(optimizer)
    apply, add_up = optimizer.apply, inner._all_reduce_sum_gradients

    def apply_shares(grads: Any, trainable_variables: Any = None) -> Any:
        shares = []
        for grad in grads:
            share = None if grad is None else tf.math.scalar_mul(1 / replicas, grad)
            shares.append(share)
        return apply(shares, trainable_variables)

    def add_up_anywhere(grads_and_variables: Any) -> Any:
        if not tf.distribute.in_cross_replica_context():
            return add_up(grads_and_variables)
        pairs = [pair for pair in grads_and_variables if pair[0] is not None]
        sums = tf.distribute.get_strategy().extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, pairs
        )
        return list(zip(sums, [variable for _, variable in pairs]))

    optimizer.apply, inner._all_reduce_sum_gradients = apply_shares, add_up_anywhere


def judge_all_replicas_together(optimizer: Any, replicas: int) -> None:
    """Let an optimizer see all replicas' gradients: to limit their norm, or to find infinite ones.

    Keras 2 does so. Keras 3 looks at those of each replica, and then adds them up: here each
    replica gets their mean, and its share of the limit of the norm.
    """
    inner = inner_optimizer(optimizer)
    clips = getattr(inner, "global_clipnorm", None) is not None
    scales_loss = inner is not optimizer
    if not is_keras_3() or not (clips or scales_loss):
        return
    if clips:
        inner.global_clipnorm /= replicas
    apply = optimizer.apply

    def apply_means(grads: Any, trainable_variables: Any = None) -> Any:
        means = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.MEAN, list(grads)
        )
        return apply(means, trainable_variables)

    optimizer.apply = apply_means


def learning_rate(model: Any) -> Optional[float]:
    """The learning rate that is set now; None if the optimizer has none, or its own schedule."""
    optimizer = inner_optimizer(model.optimizer)
    if hasattr(optimizer, "_learning_rate"):
        rate = optimizer._learning_rate
    else:
        rate = getattr(optimizer, "learning_rate", None)
    if rate is None or isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):
        return None
    return float(tf.convert_to_tensor(tensorflow_variable(rate)))


def set_learning_rate(model: Any, rate: Any) -> None:
    """Set the learning rate of the next steps. Called in the graph."""
    tensorflow_variable(inner_optimizer(model.optimizer).learning_rate).assign(rate)
