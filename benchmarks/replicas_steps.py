"""Times training steps of several kinds in turn, in one process: what replicas.py shows. Python 3.8 syntax.

    python replicas_steps.py RUN.json DATA.npz ROUNDS STEPS RESULT KIND...

RESULT gets the seconds of each round as JSON, by kind: elapsed and processor time.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hpcdl.contract.spec import RunSpec
from hpcdl.trainer import compat
from hpcdl.trainer.dataset.load import Part, epoch_order
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.fit.steps import Stepper, TrainingData
from hpcdl.trainer.model import compiling, models

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICES = {"mirrored": ["CPU:0"], "two": ["CPU:0", "CPU:1"]}  # the others have no strategy
WARM_UP = 2  # rounds: the first one traces the graph


def steps_of(kind: str, run: RunSpec, source: Source) -> Callable[[int, int], float]:
    """Does steps of a kind: (first, how many) -> the mean loss so far. Each kind has its own model."""
    strategy = tf.distribute.get_strategy()
    if kind in DEVICES:
        strategy = tf.distribute.MirroredStrategy(DEVICES[kind])
    compat.seed_everything(run.train.seed)
    with strategy.scope():
        model = models.build(run.model, (28, 28, 1), 10)
        compiling.compile_model(model, run.model, run.train, strategy.num_replicas_in_sync, 10)
    compat.build_metrics(model, strategy, *source.take(tf.range(2)))
    rows = np.arange(source.rows, dtype=np.int32)
    if kind == "none":
        return by_hand(model, source, run, epoch_order(rows, run.train.seed, 0))
    stepper = Stepper(model, strategy, TrainingData(source, rows), run.train, nullcontext)
    return lambda first, count: stepper(first, count)[2]


def by_hand(model: Any, source: Source, run: RunSpec, order: Any) -> Callable[[int, int], float]:
    """The least loop of steps in one graph, which knows nothing of replicas."""
    size = run.train.batch_size
    order = tf.constant(order)

    def graph(first: Any, count: Any) -> Any:
        loss = tf.constant(0.0)
        for step in tf.range(first, first + count):
            with tf.device("CPU:0"):
                rows = tf.slice(order, [step * size], [size])
            loss = model.train_step(source.take(rows))["loss"]
        return loss

    call = tf.function(graph)

    def steps(first: int, count: int) -> float:
        return float(call(tf.constant(first), tf.constant(count)))

    return steps


def main() -> None:
    """Measure, and write the result."""
    run_json, data, rounds, steps, result = sys.argv[1:6]
    kinds = sys.argv[6:]
    if "two" in kinds:
        emulated = [tf.config.LogicalDeviceConfiguration()] * 2
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, emulated)
    with open(run_json) as file:
        run = RunSpec.from_json(file.read())
    with np.load(data) as arrays:
        labels = arrays["y_train"].astype(np.int32)
        source = Source(Part(arrays["x_train"][..., np.newaxis], labels, 1 / 255))
    count = int(steps)
    places = source.rows // run.train.batch_size // count  # of rounds in an epoch
    of_kinds = {kind: steps_of(kind, run, source) for kind in kinds}
    seconds: dict[str, Any] = {kind: {"elapsed": [], "processor": []} for kind in kinds}
    losses: dict[str, float] = {}
    for turn in range(WARM_UP + int(rounds)):
        in_turn = list(of_kinds) if turn % 2 else list(of_kinds)[::-1]
        for kind in in_turn:
            elapsed_s, processor_s = time.perf_counter(), time.process_time()
            losses[kind] = of_kinds[kind](turn % places * count, count)
            if turn >= WARM_UP:
                seconds[kind]["elapsed"].append(time.perf_counter() - elapsed_s)
                seconds[kind]["processor"].append(time.process_time() - processor_s)
    with open(result, "w") as file:
        json.dump({"tensorflow": tf.__version__, "seconds": seconds, "losses": losses}, file)


if __name__ == "__main__":
    main()
