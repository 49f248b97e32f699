"""The GPU tests' own logic, without a GPU: each fault that they look for is planted once."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from tests.gpu.findings import (
    faults_between,
    faults_of_devices,
    faults_of_memory,
    faults_of_precision,
    faults_of_training,
)
from tests.gpu.machine import REPOSITORY, Gpu, Training, read_gpus

SMI = "0, NVIDIA H100 80GB HBM3, 550.54.15, 81559, 1\n1, NVIDIA H100 80GB HBM3, 550.54.15, 81559, 40000\n"
H100 = Gpu(0, "NVIDIA H100 80GB HBM3", "550.54.15", 81559, 1)


def trained(
    accuracy: float = 0.97, losses: tuple[float, ...] = (1.7, 0.1), **devices: object
) -> Training:
    found = {"replicas": 1, "strategy": "Strategy", "names": ["GPU:0"], **devices}
    result = {"test": {"accuracy": accuracy}, "devices": found, "precision": "float32"}
    return Training(result, [{"loss": loss} for loss in losses], "", {0: 1500.0})


def test_smi_output_is_read():
    gpus = read_gpus(SMI)

    assert gpus[0] == H100
    assert (gpus[1].index, gpus[1].used_mb) == (1, 40000)


def test_sound_training_has_no_faults():
    sound = trained()

    assert list(faults_of_training(sound)) == []
    assert list(faults_of_devices(sound, 1, emulated=False)) == []
    assert list(faults_of_precision(sound, "float32")) == []
    assert list(faults_between(sound, trained(0.96), "two")) == []
    assert list(faults_of_memory(sound, [H100])) == []


@pytest.mark.parametrize(
    ("training", "fault"),
    [
        (trained(0.5), "test accuracy 0.5000"),
        (trained(losses=(1.7, math.nan)), "losses that are not numbers"),
        (trained(losses=(1.7, 1.8)), "the loss went from 1.7000 to 1.8000"),
    ],
)
def test_failed_training_is_seen(training, fault):
    assert fault in "\n".join(faults_of_training(training))


@pytest.mark.parametrize(
    ("training", "gpus", "fault"),
    [
        (trained(), 2, "1 replicas; expected 2"),
        (trained(replicas=2), 2, "expected MirroredStrategy"),
        (trained(names=["CPU:0"]), 1, "devices CPU:0; expected GPUs"),
    ],
)
def test_wrong_devices_are_seen(training, gpus, fault):
    assert fault in "\n".join(faults_of_devices(training, gpus, emulated=False))


def test_other_precision_is_seen():
    assert list(faults_of_precision(trained(), "mixed_float16")) != []


def test_different_answers_are_seen():
    assert list(faults_between(trained(0.97), trained(0.9), "jit off and on")) != []


def test_whole_memory_is_seen():
    greedy = trained()
    greedy.most_used_mb[0] = 80000.0

    assert "79999 of 81559 MiB taken" in "\n".join(faults_of_memory(greedy, [H100]))


@pytest.mark.tensorflow
def test_trainings_run_on_stand_ins():
    """The tests for real GPUs, with two CPU devices in their place."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/gpu/test_gpu_training.py",
    ]
    argv += ["-m", "gpu", "-k", "one_gpu or all_gpus"]
    env = {**os.environ, "HPCDL_TEST_EMULATED_GPUS": "2"}

    done = subprocess.run(
        argv, capture_output=True, text=True, cwd=REPOSITORY, env=env, timeout=600
    )

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
