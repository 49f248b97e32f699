"""Every difference between Keras 2 and Keras 3 (and TensorFlow 2.11 and later), one function each."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import inspect
import random
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import DeviceError


def keras_version() -> str:
    """The version of tf.keras.

    It does not say it itself in TensorFlow 2.16 with Keras 3.0, nor where ``TF_USE_LEGACY_KERAS=1``
    makes it the package tf_keras. Then the package that its classes come from says it.
    """
    version = getattr(tf.keras, "__version__", None)
    if version is None:
        package = tf.keras.Model.__module__.partition(".")[0]
        version = importlib.import_module(package).__version__
    return str(version)


def _keras() -> Tuple[int, ...]:
    return tuple(int(part) for part in keras_version().split(".")[:2])


def is_keras_3() -> bool:
    """Whether tf.keras is Keras 3."""
    return not keras_version().startswith("2.")


def seed_everything(seed: int) -> None:
    """Make what is built from here on depend on the seed alone.

    Keras 2 draws from generators that can be set (see `random_states`) only after a switch.
    """
    if not is_keras_3():
        tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(seed)


def forget_models() -> None:
    """Let go of all models: the names of layers start again, as in a new process."""
    tf.keras.backend.clear_session()
    gc.collect()


def is_compiled(model: Any) -> bool:
    """Whether a model came with its own optimizer and loss."""
    return bool(model.compiled if is_keras_3() else model._is_compiled)


def build_optimizer(model: Any) -> None:
    """Create the optimizer's variables now: inside a loop or a replica it is too late."""
    optimizer = (
        model.optimizer if is_keras_3() else inner_optimizer(model.optimizer)
    )  # Keras 2's wrapper has them
    build = (
        getattr(optimizer, "build", None) or optimizer._create_all_weights
    )  # Keras 2's legacy ones
    build(model.trainable_variables)
    if optimizer is not model.optimizer and not hasattr(model.optimizer, "_variables"):
        model.optimizer._variables = _optimizer_variables(
            model.optimizer
        )  # which Keras 2.11 forgets, and saving wants


def add_up_gradients(optimizer: Any, replicas: int) -> None:
    """Let an optimizer of several replicas take the gradients' mean over the batch, as Keras 2 and Keras 3.8 do.

    Keras 3.2 to 3.7 adds up the replicas' mean gradients, so that the sum is as many times too large. Keras 3.2 to
    3.4 leaves that to a moment when all replicas meet, as those on CPUs do, and then does not do it.

    Raises:
        DeviceError: Keras 3.0 and 3.1 do not add them up at all: each replica would train a model of its own.
    """
    if not (3, 0) <= _keras() < (3, 8):
        return
    if _keras() < (3, 2):
        raise DeviceError(
            "Keras {} does not add up the gradients of several replicas".format(keras_version()),
            "train on one GPU, or in an image with Keras 2, or 3.2 and newer",
        )
    inner = inner_optimizer(optimizer)
    apply, add_up = optimizer.apply, inner._all_reduce_sum_gradients

    def apply_shares(grads: Any, trainable_variables: Any = None) -> Any:
        shares = [
            None if grad is None else tf.math.scalar_mul(1 / replicas, grad) for grad in grads
        ]
        return apply(shares, trainable_variables)

    def add_up_anywhere(grads_and_variables: Any) -> Any:
        if not tf.distribute.in_cross_replica_context():
            return add_up(grads_and_variables)
        pairs = [(grad, variable) for grad, variable in grads_and_variables if grad is not None]
        sums = tf.distribute.get_strategy().extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, pairs
        )
        return [(grad, variable) for grad, (_, variable) in zip(sums, pairs)]

    optimizer.apply, inner._all_reduce_sum_gradients = apply_shares, add_up_anywhere


def judge_all_replicas_together(optimizer: Any, replicas: int) -> None:
    """Let an optimizer see all replicas' gradients when it cuts their norm or looks for infinite ones, as Keras 2 does.

    Keras 3 looks at those of each replica, and then adds them up: here each gets their mean, and the limit of the
    norm is the replicas' share of it.
    """
    inner = inner_optimizer(optimizer)
    clips = getattr(inner, "global_clipnorm", None) is not None
    if not is_keras_3() or not (clips or inner is not optimizer):
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


def inner_optimizer(optimizer: Any) -> Any:
    """The optimizer itself, where mixed_float16 has wrapped it in one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def learning_rate(model: Any) -> Optional[float]:
    """The optimizer's learning rate as it is set now; None where it has a schedule of its own, or no such thing."""
    optimizer = inner_optimizer(model.optimizer)
    rate = (
        optimizer._learning_rate
        if hasattr(optimizer, "_learning_rate")
        else getattr(optimizer, "learning_rate", None)
    )
    if rate is None or isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):
        return None
    return float(tf.convert_to_tensor(tensorflow_variable(rate)))


def set_learning_rate(model: Any, rate: Any) -> None:
    """Set the learning rate of the steps to come. Called in the graph."""
    tensorflow_variable(inner_optimizer(model.optimizer).learning_rate).assign(rate)


@contextlib.contextmanager
def whole_numbers_apart() -> Iterator[None]:
    """While a model is built: let each replica keep whole numbers of its own, as Keras 3.8 does.

    Such are the states of random layers. Keras 3.7 asks for the replicas' mean, which TensorFlow
    refuses: "aggregation=MEAN and a non-floating dtype is not supported".
    """

    def create(next_creator: Callable[..., Any], **settings: Any) -> Any:
        asks_for_mean = settings.get("aggregation") == tf.VariableAggregation.MEAN
        dtype = settings.get("dtype")
        if asks_for_mean and dtype is not None and not tf.as_dtype(dtype).is_floating:
            settings["aggregation"] = tf.VariableAggregation.NONE
        return next_creator(**settings)

    if _keras() != (3, 7):
        yield
        return
    with tf.variable_creator_scope(create):
        yield


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
    """Let each replica keep its own sums for the metrics, which are added up when they are read.

    Keras 2 and Keras 3.10 do so. Keras 3.7 to 3.9 asks for the sum, but not for variables that
    replicas write apart (synchronization ON_READ): each write of a replica then sets all of them to
    the sum over the replicas, so that what was counted before counts again for every replica.
    """
    if strategy.num_replicas_in_sync == 1 or not (3, 7) <= _keras() < (3, 10):
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
    once = {id(variable): variable for metric in model.metrics for variable in metric.variables}
    return list(once.values())


def tensorflow_variable(variable: Any) -> Any:
    """The TensorFlow variable behind a Keras one: in Keras 2 they are the same.

    tf.keras.Variable does not tell them: in some versions of Keras 3 no variable of a model is one.
    """
    return variable if isinstance(variable, tf.Variable) else getattr(variable, "value", variable)


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
    shared = list(model.trainable_variables) + _optimizer_variables(model.optimizer)
    of_model = {id(variable) for variable in model.variables}
    found = list(model.variables) + shared
    for metric in model.metrics:
        found += list(metric.variables)
    once = {id(variable): variable for variable in found}
    owned = set(once) - {id(variable) for variable in shared}
    return [
        Variable(
            str(getattr(variable, "path", variable.name)),
            tensorflow_variable(variable),
            key in owned,
            key in of_model,
        )
        for key, variable in once.items()
    ]


def _optimizer_variables(optimizer: Any) -> List[Any]:
    """The optimizer's own variables, and the scale of the loss and its counter."""
    inner = inner_optimizer(optimizer)
    found = inner.variables
    found = list(found() if callable(found) else found)
    if inner is optimizer:
        return found
    if is_keras_3():
        return [*found, optimizer.dynamic_scale, optimizer.step_counter]
    scale = optimizer._loss_scale  # a plain number where the user has fixed it
    return [*found, scale.current_loss_scale, scale.counter] if optimizer.dynamic else found


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


def random_states(
    model: Any, seed: int, strategy: Any, whole: Any = None
) -> List[Tuple[Any, int, int]]:
    """The state variables of all random layers (dropout, augmentation): (variable, key, replica) of each.

    The key is a function of the seed and of the layer's place in the model, or in the whole that it is a part of.
    """
    states = []
    mine = {id(layer) for layer in model._flatten_layers()}
    for place, layer in enumerate((whole or model)._flatten_layers()):
        if id(layer) not in mine:
            continue
        for number, variable in enumerate(_generator_states(layer)):
            text = "{}/{}/{}".format(seed, place, number).encode("ascii")
            key = int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
            states += [
                (copy, key, replica)
                for replica, copy in enumerate(strategy.experimental_local_results(variable))
            ]
    return states


def seed_tracing(seed: int, rows: int) -> None:
    """Make what is drawn while a graph is traced depend on the seed and the graph, not on which one is traced first.

    Keras 2.11's RandomFlip draws from numpy in Python: once for each graph, and not for each image.

    Args:
        rows: the rows of a batch, which tell the graphs of one training apart.
    """
    key = int.from_bytes(
        hashlib.sha256("{}/{}".format(seed, rows).encode("ascii")).digest()[:4], "big"
    )
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


@contextlib.contextmanager
def _metrics_added_up(model: Any) -> Iterator[None]:
    """Give the first replica's metrics the sums of all for a while: before 3.7, Keras reads the first one's alone."""
    kept = []
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1 and _keras() < (3, 7):
        for variable in _metric_variables(model):
            copies = strategy.experimental_local_results(tensorflow_variable(variable))
            kept.append((copies[0], copies[0].numpy()))
            copies[0].assign(sum(copy.numpy() for copy in copies))
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def metric_results(model: Any) -> Dict[str, float]:
    """What the model's metrics say now, by name, loss first."""
    if is_keras_3():
        with _metrics_added_up(model):
            results = model.get_metrics_result()
    else:
        results = {metric.name: metric.result() for metric in model.metrics}
    return {name: float(value) for name, value in results.items()}


def depth(model: Any) -> int:
    """How many layers have a kernel: 16 in VGG16."""
    return sum(has_kernel(layer) for layer in innermost_layers(model))


def has_kernel(layer: Any) -> bool:
    """Whether a layer has a weight of two or more dimensions; batch normalisation has none."""
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def innermost_layers(model: Any) -> List[Any]:
    """All layers of a model that are made of no others, those of nested models too."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if len(list(layer._flatten_layers())) == 1]


@contextlib.contextmanager
def watched_calls(model: Any, note: Callable[[Any, Any], None]) -> Iterator[None]:
    """While a model is run eagerly: ``note(layer, inputs)`` comes before each innermost layer."""

    def watched(layer: Any, call: Any) -> Any:
        def noting(*arguments: Any, **named: Any) -> Any:
            if (
                arguments and tf.executing_eagerly()
            ):  # a user's tf.function has no values to look at
                note(layer, arguments[0])
            return call(*arguments, **named)

        return noting

    layers = [layer for layer in innermost_layers(model) if "call" not in vars(layer)]
    for layer in layers:  # past Keras's own __setattr__, which would track it
        object.__setattr__(layer, "call", watched(layer, layer.call))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def forget_compilation(model: Any) -> None:
    """Let a model be saved without its loss and optimizer: as a part of another one it needs none.

    From Keras 2.13 on, they would be in the file, and user code of theirs would be needed to load it.
    """
    for name in ("compiled", "_is_compiled"):
        if name in vars(model):
            setattr(model, name, False)


def load_model(path: str, own_objects: Dict[str, Any], trusted: bool) -> Any:
    """Load a saved model, uncompiled.

    Args:
        own_objects: the user's own classes and functions, by name.
        trusted: whether the Python code of Lambda layers in the file may run.
    """
    load = tf.keras.models.load_model
    more = {}
    if trusted and "safe_mode" in inspect.signature(load).parameters:  # from Keras 2.13 on
        more["safe_mode"] = False
    return load(path, custom_objects=own_objects, compile=False, **more)


def model_file() -> str:
    """The file name of a saved model. TensorFlow 2.11 writes HDF5 whatever the name says."""
    major, minor = (int(part) for part in tf.__version__.split(".")[:2])
    return "model.keras" if (major, minor) >= (2, 12) else "model.h5"


def reverse_channels(images: Any) -> Any:
    """RGB becomes BGR, as a layer that every Keras can save and load: a slice with a step is none in Keras 3.0."""
    return tf.keras.ops.flip(images, axis=-1) if is_keras_3() else tf.reverse(images, [-1])


def print_summary(model: Any) -> None:
    """Print the model's layers, shapes and parameters, 80 columns wide: Keras 3 cuts off more when piped."""
    model.summary(line_length=80, print_fn=lambda text, **_: print(text, flush=True))


def never_drop(network: Any) -> None:
    """Switch off dropout and stochastic depth inside a network for good.

    ``network(x, training=False)`` is enough in Keras 2. In Keras 3, a model around the network tells it whether it
    trains, whatever was said.
    """
    if is_keras_3():
        for layer in network._flatten_layers(include_self=False):
            for name in ("rate", "drop_path_rate"):
                if isinstance(getattr(layer, name, None), float):
                    setattr(layer, name, 0.0)


@contextlib.contextmanager
def weights_from(builder: Any, find: Callable[[str], str]) -> Iterator[None]:
    """While a network of keras.applications is built: where a file of weights that Keras asks for lies.

    Keras itself would fetch what is not there, from a node without internet.

    Args:
        builder: the network's function, such as ``keras.applications.VGG16``.
        find: makes a path of the name of a file.
    """
    package = builder.__module__.partition(".applications.")[0]
    utils: Any = importlib.import_module(
        package + (".utils.file_utils" if is_keras_3() else ".utils.data_utils")
    )
    fetch = utils.get_file
    utils.get_file = lambda fname, *_, **__: find(fname)
    try:
        yield
    finally:
        utils.get_file = fetch


def weights_in(path: str) -> List[Tuple[str, Tuple[int, ...]]]:
    """The names and shapes of the weights in an HDF5 file, in the layouts of Keras 2 and of Keras 3, in their order.

    Raises:
        OSError: it is no HDF5 file, or damaged.
    """
    import h5py  # TensorFlow itself needs it

    found: List[Tuple[str, Tuple[int, ...]]] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and "seed_generator" not in name:
            found.append((name, tuple(node.shape)))

    with h5py.File(path, "r") as file:
        content = file.get("model_weights", file)
        if "layer_names" in content.attrs:
            for layer in content.attrs["layer_names"]:
                group = content[layer]
                found += [
                    (_text(name), tuple(group[name].shape)) for name in group.attrs["weight_names"]
                ]
        else:
            content.get("layers", content).visititems(note)
    return found


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)
