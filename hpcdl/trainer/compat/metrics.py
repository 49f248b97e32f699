"""Metrics: their variables, and what they say on several replicas."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List

import tensorflow as tf

from hpcdl.trainer.compat.variables import tensorflow_variable
from hpcdl.trainer.compat.versions import is_keras_3, keras_release


def build_metrics(model: Any, strategy: Any, x: Any, y: Any) -> None:
    """Create the metrics' variables by one test step, and reset them.

    Args:
        x: at least one row for each replica, float32.
        y: their labels.
    """
    if is_keras_3():
        with strategy.scope():
            model.test_step((x, y))
    else:  # here metrics may be updated inside a replica only
        tf.function(lambda: strategy.run(model.test_step, args=((x, y),)))()
    _count_apart(model, strategy)
    model.reset_metrics()


def _count_apart(model: Any, strategy: Any) -> None:
    """Let each replica have its own sums for the metrics, which are added up when they are read.

    Keras 2 and Keras 3.10 do so. Keras 3.7 to 3.9 asks for the sum, but not for variables that
    replicas write apart (synchronization ON_READ): each write of a replica then sets all of them to
    the sum over the replicas, so that what was counted before counts again for every replica.
    """
    if strategy.num_replicas_in_sync == 1 or not (3, 7) <= keras_release() < (3, 10):
        return
    with strategy.scope():
        for variable in _metric_variables(model):
            shared = tensorflow_variable(variable)
            if shared.aggregation == tf.VariableAggregation.SUM:
                variable._value = tf.Variable(
                    tf.zeros(shared.shape, shared.dtype),
                    trainable=False,
                    name=variable.name,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )


def _metric_variables(model: Any) -> List[Any]:
    """The variables of the model's metrics, each once."""
    once: Dict[int, Any] = {}
    for metric in model.metrics:
        for variable in metric.variables:
            once[id(variable)] = variable
    return list(once.values())


@contextlib.contextmanager
def _metrics_added_up(model: Any) -> Iterator[None]:
    """Give the first replica's metrics the sums of all for a while.

    Before 3.7, Keras reads those of the first replica alone.
    """
    original_values = []
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1 and keras_release() < (3, 7):
        for variable in _metric_variables(model):
            copies = strategy.experimental_local_results(tensorflow_variable(variable))
            original_values.append((copies[0], copies[0].numpy()))
            copies[0].assign(sum(copy.numpy() for copy in copies))
    try:
        yield
    finally:
        for variable, value in original_values:
            variable.assign(value)


def metric_results(model: Any) -> Dict[str, float]:
    """What the model's metrics say now, by name, loss first."""
    if is_keras_3():
        with _metrics_added_up(model):
            results = model.get_metrics_result()
    else:
        results = {}
        for metric in model.metrics:
            results[metric.name] = metric.result()
    return {name: float(value) for name, value in results.items()}
