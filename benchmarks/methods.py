"""What pruning, distillation and adversarial training cost: steps with them against plain steps.

The steps alternate in one process, fifty at a time; the ratios are those of the medians
of processor time, which other work on the machine disturbs less. It ends with 1 if one is above
its limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import tensorflow as tf
from measure import show_machine

from hpcdl.contract.spec import (
    AdversarialSpec,
    CnnSpec,
    DistillSpec,
    OptimizerSpec,
    PruneSpec,
    TrainSpec,
)
from hpcdl.trainer import compat
from hpcdl.trainer.dataset.load import Part
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.fit.adversarial import Adversary
from hpcdl.trainer.fit.steps import Stepper, TrainingData
from hpcdl.trainer.model import compiling, models

ROUNDS, STEPS = 7, 50
MODEL = CnnSpec(filters=[32, 64], kernel_size=5)  # of mnist_cnn
PLAIN = TrainSpec(epochs=5, batch_size=100, optimizer=OptimizerSpec("sgd", 0.01))
KINDS = {
    "plain": PLAIN,
    "prune": replace(PLAIN, prune=PruneSpec(0.8)),
    "distill": replace(PLAIN, distill=DistillSpec("teacher")),
    "adversarial": replace(PLAIN, adversarial=AdversarialSpec(0.1)),
}
LIMITS = {"prune": 1.03, "distill": 1.05, "adversarial": 1.7}
EXAMPLE = """example:
  python benchmarks/methods.py mnist.npz
"""


def stepper_of(train: TrainSpec, source: Source) -> Stepper:
    """Steps of one kind, with a model of their own."""
    model = models.build(MODEL, (28, 28, 1), 10)
    compiling.compile_model(model, MODEL, train, 1, 10)
    compat.build_metrics(model, tf.distribute.get_strategy(), *source.take(tf.range(2)))
    data = TrainingData(source, np.arange(source.rows, dtype=np.int32))
    if train.distill:
        answers = np.random.default_rng(1).normal(size=(source.rows, 10)).astype(np.float32)
        data.source = source.taught(answers)
    if train.adversarial:
        data.adversary = Adversary(model, train.adversarial, False, 1)
    return Stepper(model, tf.distribute.get_strategy(), data, train, nullcontext)


def main() -> int:
    """Print the ratios; 1 if one is above its limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mnist", help="mnist.npz")
    options = parser.parse_args()
    show_machine()
    with np.load(options.mnist) as archive:
        labels = archive["y_train"].astype(np.int32)
        source = Source(Part(archive["x_train"][..., None], labels, 1 / 255))
    steppers = {kind: stepper_of(train, source) for kind, train in KINDS.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(ROUNDS + 1):
        for kind, stepper in steppers.items():
            first = 1200 + turn * STEPS  # in the third epoch, where weights become 0
            started = time.process_time()
            done = 0
            while done < STEPS:
                done += stepper(first + done, STEPS - done)[0]
            if turn:  # the first one traced the graph
                seconds[kind].append(time.process_time() - started)
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    above = 0
    for kind, limit in LIMITS.items():
        ratio = medians[kind] / medians["plain"]
        above += ratio > limit
        print(
            f"{kind:12} {ratio:.3f} times a plain step ({1000 * medians[kind] / STEPS:.1f} ms); limit {limit}"
        )
    return int(above > 0)


if __name__ == "__main__":
    sys.exit(main())
