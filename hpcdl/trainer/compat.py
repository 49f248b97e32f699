"""Every difference between Keras 2 and Keras 3 (and TensorFlow 2.11 and later), one function each."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf


def is_keras_3() -> bool:
    """Whether tf.keras is Keras 3."""
    return not str(tf.keras.__version__).startswith("2.")


def seed_everything(seed: int) -> None:
    """Make what is built from here on depend on the seed alone.

    Keras 2 draws from generators that can be set (see `random_states`) only after a switch.
    """
    if not is_keras_3():
        tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(seed)


def is_compiled(model: Any) -> bool:
    """Whether a model came with its own optimizer and loss."""
    return bool(model.compiled if is_keras_3() else model._is_compiled)


def build_optimizer(model: Any) -> None:
    """Create the optimizer's variables now: inside a loop or a replica it is too late."""
    build = getattr(model.optimizer, "build", None) or model.optimizer._create_all_weights  # Keras 2's legacy ones
    build(model.trainable_variables)


def clip_all_replicas_together(optimizer: Any, replicas: int) -> None:
    """Let an optimizer cut the norm of the sum of all replicas' gradients, as Keras 2 does.

    Keras 3 cuts those of each replica, and then adds them up: here each gets their mean, and the limit is the
    replicas' share of it.
    """
    if not is_keras_3():
        return
    apply = optimizer.apply
    optimizer.global_clipnorm = optimizer.global_clipnorm / replicas

    def apply_means(grads: Any, trainable_variables: Any = None) -> Any:
        means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, list(grads))
        return apply(means, trainable_variables)

    optimizer.apply = apply_means


def learning_rate(model: Any) -> Optional[float]:
    """The optimizer's learning rate as it is set now; None where it has a schedule of its own, or no such thing."""
    optimizer = model.optimizer
    rate = (
        optimizer._learning_rate if hasattr(optimizer, "_learning_rate") else getattr(optimizer, "learning_rate", None)
    )
    if rate is None or isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):
        return None
    return float(tf.convert_to_tensor(tensorflow_variable(rate)))


def set_learning_rate(model: Any, rate: Any) -> None:
    """Set the learning rate of the steps to come. Called in the graph."""
    tensorflow_variable(model.optimizer.learning_rate).assign(rate)


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
    model.reset_metrics()


def tensorflow_variable(variable: Any) -> Any:
    """The TensorFlow variable behind a Keras one: in Keras 2 they are the same."""
    return variable.value if is_keras_3() and isinstance(variable, tf.keras.Variable) else variable


class Variable(NamedTuple):
    """One variable that training changes.

    own: each replica may hold another value: metrics, and what layers gather (see `average_replicas`).
    of_model: the model needs it to give its answers; the optimizer's and the metrics' it does not.
    """

    name: str
    variable: Any
    own: bool
    of_model: bool


def variables(model: Any) -> List[Variable]:
    """Everything that training changes, in a fixed order: model, optimizer, metrics."""
    optimizer = model.optimizer.variables
    shared = list(model.trainable_variables) + list(optimizer() if callable(optimizer) else optimizer)
    of_model = {id(variable) for variable in model.variables}
    found = list(model.variables) + shared
    for metric in model.metrics:
        found += list(metric.variables)
    once = {id(variable): variable for variable in found}
    owned = set(once) - {id(variable) for variable in shared}
    return [
        Variable(
            str(getattr(variable, "path", variable.name)), tensorflow_variable(variable), key in owned, key in of_model
        )
        for key, variable in once.items()
    ]


def average_replicas(model: Any, strategy: Any) -> None:
    """Give all replicas the mean of what their layers gathered (batch normalisation's moving averages).

    Until then each replica reads its own, in Keras 2 and 3, and what Keras 3 saves are those of the
    first alone. Moving averages are linear, so that their mean is the same whenever it is taken.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    for variable in model.non_trainable_variables:
        if tf.as_dtype(variable.dtype).is_floating:
            target = tensorflow_variable(variable)
            copies = [tf.identity(copy) for copy in strategy.experimental_local_results(target)]
            target.assign(tf.add_n(copies) / len(copies))


def random_states(model: Any, seed: int, strategy: Any) -> List[Tuple[Any, int, int]]:
    """The state variables of all random layers (dropout, augmentation): (variable, key, replica) of each.

    The key is a function of the seed and of the layer's place in the model.
    """
    states = []
    for place, layer in enumerate(model._flatten_layers()):
        for number, variable in enumerate(_generator_states(layer)):
            text = "{}/{}/{}".format(seed, place, number).encode("ascii")
            key = int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
            states += [
                (copy, key, replica) for replica, copy in enumerate(strategy.experimental_local_results(variable))
            ]
    return states


def seed_tracing(seed: int, rows: int) -> None:
    """Make what is drawn while a graph is traced depend on the seed and the graph, not on which one is traced first.

    Keras 2.11's RandomFlip draws from numpy in Python: once for each graph, and not for each image.

    Args:
        rows: the rows of a batch, which tell the graphs of one training apart.
    """
    key = int.from_bytes(hashlib.sha256("{}/{}".format(seed, rows).encode("ascii")).digest()[:4], "big")
    random.seed(key)
    np.random.seed(key)


def _generator_states(layer: Any) -> List[Any]:
    if is_keras_3():
        return [tensorflow_variable(generator.state) for generator in layer._seed_generators]
    generator = getattr(layer, "_random_generator", None)
    if generator is None:
        return []
    generator._maybe_init()
    return [generator._generator.state]


def set_random_states(states: List[Tuple[Any, int, int]], step: Any) -> None:
    """Set what the random layers draw in one step: a function of seed, layer, step and replica.

    Called in the graph. Keras 3 holds [seed, draws so far]. Keras 2 holds Philox's 128-bit counter (low, high) and key,
    and TensorFlow itself mixes the replica in.
    """
    for variable, key, replica in states:
        if is_keras_3():
            value = tf.stack([(step + key) % 2**31, tf.constant(replica << 16, tf.int64)])
        else:
            value = tf.stack([tf.constant(0, tf.int64), step, tf.constant(key, tf.int64)])
        variable.assign(tf.cast(value, variable.dtype))


def metric_results(model: Any) -> Dict[str, float]:
    """What the model's metrics say now, by name, loss first."""
    if is_keras_3():
        results = model.get_metrics_result()
    else:
        results = {metric.name: metric.result() for metric in model.metrics}
    return {name: float(value) for name, value in results.items()}


def depth(model: Any) -> int:
    """How many layers have a kernel (a weight of two or more dimensions): 16 in VGG16; batch normalisation has none."""
    layers = [layer for layer in model._flatten_layers(include_self=False) if not _inner_layers(layer)]
    return sum(any(len(weight.shape) >= 2 for weight in layer.weights) for layer in layers)


def _inner_layers(layer: Any) -> bool:
    return len(list(layer._flatten_layers())) > 1


def model_file() -> str:
    """The file name of a saved model. TensorFlow 2.11 writes HDF5 whatever the name says."""
    major, minor = (int(part) for part in tf.__version__.split(".")[:2])
    return "model.keras" if (major, minor) >= (2, 12) else "model.h5"


def print_summary(model: Any) -> None:
    """Print the model's layers, shapes and parameters, 80 columns wide: Keras 3 cuts off more when piped."""
    model.summary(line_length=80, print_fn=lambda text, **_: print(text, flush=True))
