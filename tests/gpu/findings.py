"""What is wrong with trainings on GPUs, as sentences: pure functions, tried without a GPU, too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tests.gpu.machine import Gpu, Training

ENOUGH_ACCURACY = 0.93  # of the digits after 8 epochs; 0.97 to 0.98 on CPUs
ACCURACY_SPREAD = 0.03  # between ways to compute: 11 of the 360 test digits
# A process that lets memory grow takes what it needs and CUDA's own (0.3 to 1 GiB); one that does not, nearly all.
MOST_SHARE_OF_MEMORY = 0.5


def faults_of_training(training: Training) -> Iterator[str]:
    """It did not learn, or its numbers overflowed."""
    if training.accuracy < ENOUGH_ACCURACY:
        yield f"test accuracy {training.accuracy:.4f}; expected {ENOUGH_ACCURACY} or more"
    losses = [line["loss"] for line in training.epochs]
    if not all(math.isfinite(loss) for loss in losses):
        yield f"losses that are not numbers: {losses}"
    elif losses[-1] >= losses[0]:
        yield f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}; expected it to fall"


def faults_of_devices(training: Training, gpus: int, emulated: bool) -> Iterator[str]:
    """It did not compute on the GPUs that it was given."""
    devices = training.result["devices"]
    if devices["replicas"] != gpus:
        yield f"{devices['replicas']} replicas; expected {gpus}"
    if gpus > 1 and devices["strategy"] != "MirroredStrategy":
        yield f"strategy {devices['strategy']}; expected MirroredStrategy"
    if not emulated and not all("GPU" in name for name in devices["names"]):
        yield f"devices {', '.join(devices['names'])}; expected GPUs"


def faults_between(one: Training, other: Training, what: str) -> Iterator[str]:
    """Two ways to compute the same disagree."""
    difference = abs(one.accuracy - other.accuracy)
    if difference > ACCURACY_SPREAD:
        yield f"{what}: {one.accuracy:.4f} and {other.accuracy:.4f}; expected {ACCURACY_SPREAD} apart at most"


def faults_of_precision(training: Training, expected: str) -> Iterator[str]:
    """It computed in other numbers than it was asked to."""
    if training.result["precision"] != expected:
        yield f"precision {training.result['precision']}; expected {expected}"


def faults_of_memory(training: Training, before: Sequence[Gpu]) -> Iterator[str]:
    """It took a GPU's memory as a whole instead of growing into it."""
    for gpu in before:
        taken_mb = training.most_used_mb.get(gpu.index, gpu.used_mb) - gpu.used_mb
        if taken_mb > MOST_SHARE_OF_MEMORY * gpu.total_mb:
            yield (
                f"GPU {gpu.index} ({gpu.name}): {taken_mb:.0f} of {gpu.total_mb:.0f} MiB taken;"
                f" expected {MOST_SHARE_OF_MEMORY:.0%} at most for so small a network"
            )
