"""A run that is killed and stopped again and again ends bit for bit as the whole one.

It has all that could drift: augmentation, dropout, batch normalisation, a learning-rate schedule,
the sums of three metrics, validation, early stopping. Nothing here imports TensorFlow, so that the
same tests run against the Python of a container.
"""

import random

import numpy as np
import pytest

from hpcdl.contract.spec import (
    DataSpec,
    DeviceSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    SavingSpec,
    TrainSpec,
)
from tests.trainer.conftest import each_keras

pytestmark = pytest.mark.tensorflow

MODELS = '''
"""A user's compiled model, which stops or kills its trainer at a step, or in the evaluation."""
import json
import os
import signal

import tensorflow as tf

FOLDER = os.path.dirname(os.path.abspath(__file__))
CALLS = []


def note_training():
    CALLS.append(1)
    if len(CALLS) == int(os.environ.get("STOP_AT_CALL", "0")):
        open(os.path.join(FOLDER, "stop"), "w").close()
    if len(CALLS) == int(os.environ.get("KILL_AT_CALL", "0")):
        os.kill(os.getpid(), signal.SIGKILL)


def note_scoring():
    with open(os.path.join(FOLDER, "heartbeat.json")) as file:
        if json.load(file)["phase"] == os.environ.get("KILL_IN_PHASE"):
            os.kill(os.getpid(), signal.SIGKILL)


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        tf.numpy_function(note_training if training else note_scoring, [], [])
        return tf.identity(inputs)


def model(input_shape, classes):
    layers, metrics = tf.keras.layers, tf.keras.metrics
    built = tf.keras.Sequential([
        tf.keras.Input(input_shape), Watched(), layers.RandomFlip("horizontal"), layers.RandomRotation(0.02),
        layers.Flatten(), layers.Dense(16, activation="relu"), layers.BatchNormalization(momentum=0.8),
        layers.Dropout(0.2), layers.Dense(classes),
    ])
    rate = tf.keras.optimizers.schedules.ExponentialDecay(0.003, decay_steps=10, decay_rate=0.8)
    built.compile(
        optimizer=tf.keras.optimizers.Adam(rate),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[metrics.SparseCategoricalAccuracy(name="accuracy"), metrics.SparseTopKCategoricalAccuracy(2, "top_2")],
    )
    return built
'''
SECTIONS = {
    "model": FunctionSpec("exact_models:model", {}, "logits"),
    "train": TrainSpec(
        epochs=40, batch_size=24, early_stopping=EarlyStoppingSpec(patience=3, min_delta=0.02)
    ),
    "data": DataSpec(path="data.npz", validation_split=0.3),
    "saving": SavingSpec(every_steps=4, keep=2),
}
WALL_CLOCK = {"seconds": 0, "images_per_s": 0, "time": 0}
KILLED = (-9, 137)  # by itself, and as Apptainer says it


@pytest.fixture
def make_exact_run(make_run, trainer_command):
    """Two emulated replicas on this machine, one device in the image."""
    replicas = 1 if "apptainer" in trainer_command else 2

    def make():
        folder = make_run(
            **SECTIONS, devices=DeviceSpec(gpus=2, emulate=True) if replicas == 2 else DeviceSpec()
        )
        (folder.path / "exact_models.py").write_text(MODELS)
        return folder

    return make


def epochs_of(run):
    return [{**line, **WALL_CLOCK} for line in run.metrics()]


@each_keras
def test_interrupted_run_is_exact(make_exact_run, run_trainer):
    """A run that is killed and stopped ends bit for bit like the uninterrupted one."""
    whole, folder, moments = run_trainer(make_exact_run()), make_exact_run(), random.Random(11)
    assert whole.status == 0, whole.stderr
    result = whole.json("result.json")
    assert result["stopped_early"]
    assert 1 < result["best"]["epoch"] == result["epochs_run"] - 3
    calls = result["steps"] * result["devices"]["replicas"]

    killed = run_trainer(folder, KILL_AT_CALL=str(moments.randint(calls // 5, calls // 2)))
    assert killed.status in KILLED, killed.stderr
    stopped = run_trainer(
        folder, HPCDL_ATTEMPT="2", STOP_AT_CALL=str(moments.randint(2, calls // 5))
    )
    assert stopped.status == 75, stopped.stderr
    (folder.path / "stop").unlink()
    killed = run_trainer(folder, HPCDL_ATTEMPT="3", KILL_IN_PHASE="evaluating")
    assert killed.status in KILLED, killed.stderr
    assert "stopped early: " in killed.stdout
    ended = run_trainer(folder, HPCDL_ATTEMPT="4")
    assert ended.status == 0, ended.stderr
    assert not any(line.startswith("epoch ") for line in ended.stdout.splitlines()), (
        "it had stopped early"
    )

    assert epochs_of(ended) == epochs_of(whole)
    expected, found = whole.newest_arrays(), ended.newest_arrays()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    for key in ("test", "validation", "best", "stopped_early", "epochs_run", "steps"):
        assert ended.json("result.json")[key] == result[key]
