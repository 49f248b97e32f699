"""How long the replicas of a training take to add up their gradients: its all-reduce alone."""

from __future__ import annotations

import statistics
import time
from typing import Any

import tensorflow as tf

from hpcdl.trainer import compat

_CALLS = 3
_SUMS = 5  # of a call


def gradient_sum_s(model: Any, strategy: Any) -> float:
    """Add up numbers of the shapes of all gradients, as the optimizer does in each step.

    How often does not depend on a clock: all workers must do it equally often.

    Args:
        model: the model that trains.
        strategy: the tf.distribute strategy of the training.

    Returns:
        seconds of one sum of all gradients, over all replicas; 0.0 if there is nothing to add up.
    """
    variables = [compat.tensorflow_variable(one) for one in model.trainable_variables]
    if strategy.num_replicas_in_sync == 1 or not variables:
        return 0.0

    def replica(number: Any) -> Any:
        """An element of a sum, which takes all of it."""
        parts = []
        for variable in variables:  # another number each time, or TensorFlow adds up only once
            parts.append(tf.convert_to_tensor(variable) + tf.cast(number, variable.dtype))
        sums = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, parts)
        return tf.add_n([tf.cast(tf.reshape(part, [-1])[0], tf.float32) for part in sums])

    def add_up() -> Any:
        total = tf.constant(0.0)
        for number in tf.range(_SUMS):
            result = strategy.run(replica, args=(number,))
            total += tf.add_n(strategy.experimental_local_results(result))
        return total

    call = tf.function(add_up)
    float(call())  # traces the graph, and connects the devices
    times = []
    for _ in range(_CALLS):
        started = time.perf_counter()
        float(call())
        times.append(time.perf_counter() - started)
    return statistics.median(times) / _SUMS
