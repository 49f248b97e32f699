"""Random numbers: each is a function of the seed, the step, the layer and the replica."""

from __future__ import annotations

import contextlib
import hashlib
import random
from typing import Any, Callable, Iterator, List, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.trainer.compat.variables import tensorflow_variable
from hpcdl.trainer.compat.versions import is_keras_3, keras_release


def seed_everything(seed: int) -> None:
    """Make what is built from here on depend on the seed alone.

    Keras 2 draws from generators that can be set (see `random_states`) only after a switch.
    """
    if not is_keras_3():
        tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(seed)


def seed_tracing(seed: int, rows: int) -> None:
    """Make what is drawn while a graph is traced depend on the seed and the graph alone.

    Without it, it would depend on which graph is traced first. Keras 2.11's RandomFlip draws from
    numpy in Python: once for each graph, and not for each image.

    Args:
        rows: the rows of a batch, which tell the graphs of one training apart.
    """
    key = _hash_number("{}/{}".format(seed, rows))
    random.seed(key)
    np.random.seed(key)


def _hash_number(text: str) -> int:
    """A number of 32 bits."""
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:4], "big")


def random_states(
    model: Any, seed: int, strategy: Any, whole: Any = None, from_replica: int = 0
) -> List[Tuple[Any, int, int]]:
    """The state variables of all random layers (dropout, augmentation).

    Args:
        model: the model that draws.
        seed: the run's.
        strategy: the tf.distribute strategy.
        whole: the model that it is a part of, if it is one.
        from_replica: the number of this worker's first replica, among those of all workers.

    Returns:
        (variable, key, replica) of each. The key is a function of the seed and of the layer's place
        in the whole model.
    """
    states = []
    of_model = set(map(id, model._flatten_layers()))
    for place, layer in enumerate((whole or model)._flatten_layers()):
        if id(layer) not in of_model:
            continue
        for number, variable in enumerate(_generator_states(layer)):
            key = _hash_number("{}/{}/{}".format(seed, place, number)) >> 1
            copies = strategy.experimental_local_results(variable)
            for replica, copy in enumerate(copies, start=from_replica):
                states.append((copy, key, replica))
    return states


def _generator_states(layer: Any) -> List[Any]:
    """The state variables of a layer's generators."""
    if is_keras_3():
        return [tensorflow_variable(generator.state) for generator in layer._seed_generators]
    generator = getattr(layer, "_random_generator", None)
    if generator is None:
        return []
    generator._maybe_init()
    return [generator._generator.state]


def set_random_states(states: List[Tuple[Any, int, int]], step: Any) -> None:
    """Set what the random layers draw in one step: a function of seed, layer, step and replica.

    Called in the graph. Keras 3 holds [seed, draws so far]. Keras 2 holds Philox's 128-bit counter
    (low, high) and key, and TensorFlow itself mixes the replica in.
    """
    for variable, key, replica in states:
        if is_keras_3():
            value = tf.stack([(step + key) % 2**31, tf.constant(replica << 16, tf.int64)])
        else:
            value = tf.stack([tf.constant(0, tf.int64), step, tf.constant(key, tf.int64)])
        variable.assign(tf.cast(value, variable.dtype))


@contextlib.contextmanager
def whole_numbers_apart() -> Iterator[None]:
    """While a model is built: let each replica hold its own whole numbers, as Keras 3.8 does.

    The states of random layers are such numbers. Keras 3.7 asks for the replicas' mean, which
    TensorFlow refuses: "aggregation=MEAN and a non-floating dtype is not supported".
    """

    def create(next_creator: Callable[..., Any], **settings: Any) -> Any:
        asks_for_mean = settings.get("aggregation") == tf.VariableAggregation.MEAN
        dtype = settings.get("dtype")
        if asks_for_mean and dtype is not None and not tf.as_dtype(dtype).is_floating:
            settings["aggregation"] = tf.VariableAggregation.NONE
        return next_creator(**settings)

    if keras_release() != (3, 7):
        yield
        return
    with tf.variable_creator_scope(create):
        yield
