"""Ten minutes on a machine with GPUs: every way to compute learns the same; see docs/first-gpu.md."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from tests.gpu.findings import (
    faults_between,
    faults_of_devices,
    faults_of_memory,
    faults_of_precision,
    faults_of_training,
)
from tests.gpu.machine import REPOSITORY, find_gpus

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


def test_one_gpu_learns(train, machine):
    training = train("one", precision="float32")

    assert [*faults_of_training(training), *faults_of_devices(training, 1, machine.emulated)] == []


def test_all_gpus_learn_the_same(train, machine):
    if machine.gpus < 2:
        pytest.skip("there is one GPU")
    training = train("all", gpus=machine.gpus, precision="float32")

    faults = [*faults_of_devices(training, machine.gpus, machine.emulated)]
    faults += faults_between(train("one", precision="float32"), training, "one GPU and all")
    assert faults == []


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_learns_the_same(train, precision):
    """float16 needs its loss scaled: without it, small gradients vanish and this fails."""
    training = train(precision, precision=precision)

    faults = [*faults_of_training(training), *faults_of_precision(training, precision)]
    faults += faults_between(train("one", precision="float32"), training, precision)
    assert faults == []


def test_auto_is_float32(train):
    training = train("auto", precision="auto")

    assert [*faults_of_training(training), *faults_of_precision(training, "float32")] == []


def test_tf32_changes_no_result(train):
    """NVIDIA_TF32_OVERRIDE=0 is the CUDA libraries' own switch."""
    exact = train("without_tf32", precision="float32", env={"NVIDIA_TF32_OVERRIDE": "0"})

    assert [
        *faults_between(train("one", precision="float32"), exact, "with TF32 and without")
    ] == []


def test_compiled_steps_learn_the_same(train):
    compiled = train("jit", precision="float32", jit="on")

    assert compiled.result["jit"] is True
    assert [*faults_between(train("one", precision="float32"), compiled, "jit off and on")] == []


def test_memory_grows(train, gpus):
    before = find_gpus()
    training = train("memory", precision="float32", epochs=2)

    assert training.most_used_mb.keys() >= {gpu.index for gpu in gpus}
    assert [*faults_of_memory(training, before)] == []


def test_fit_is_compared_with_keras(tmp_path, gpus):
    """The benchmark's own output is the result; images that need no download."""
    if not gpus:
        pytest.skip("a time on stand-ins says nothing")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, 12_000)
    images = rng.integers(0, 120, (12_000, 28, 28)) + 13 * labels[:, None, None]
    data = tmp_path / "made.npz"
    np.savez(
        data,
        x_train=images[:10_000].astype(np.uint8),
        y_train=labels[:10_000],
        x_test=images[10_000:].astype(np.uint8),
        y_test=labels[10_000:],
    )
    argv = [sys.executable, REPOSITORY / "benchmarks/fit.py", "--data", data, "--epochs", "2"]

    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=500)

    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert re.search(r"= +[\d.]+x", done.stdout), done.stdout
