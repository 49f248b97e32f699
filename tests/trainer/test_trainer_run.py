"""The trainer as the host sees it: exit statuses and files of `python -m hpcdl.trainer run.json`.

Nothing here imports TensorFlow, so that the same tests run against the Python of a container.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hpcdl.contract.spec import (
    DataSpec,
    DeviceSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    TrainSpec,
)

tensorflow_run = pytest.mark.tensorflow  # starts a TensorFlow, which takes seconds

MODELS = '''
"""A user's models, one of them with a layer that asks for a stop in the middle of an epoch."""
import os
import tensorflow as tf

CALLS = []


def note_call():
    CALLS.append(1)
    if len(CALLS) == int(os.environ.get("STOP_AT_CALL", "0")):
        open(os.environ["HPCDL_STOP_FILE"], "w").close()


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(note_call, [], [])
        return tf.identity(inputs)


def random_layers(input_shape, classes, units):
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input(input_shape), Watched(), layers.RandomTranslation(0.1, 0.1), layers.Flatten(),
        layers.Dense(units), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(classes),
    ])


def raises(input_shape, classes):
    return {}["no such key"]

'''
RANDOM = FunctionSpec("user_models:random_layers", {"units": 8}, "logits")
DEVICES = {"single": DeviceSpec(), "emulated": DeviceSpec(gpus=2, emulate=True)}
TRAIN = TrainSpec(
    epochs=3, batch_size=11, optimizer=OptimizerSpec(learning_rate=0.003)
)  # 25 steps, the last of 7 rows


@pytest.fixture(scope="module")
def make_user_run(make_run):
    def make(**sections):
        folder = make_run(**sections)
        (folder.path / "user_models.py").write_text(MODELS)
        return folder

    return make


@pytest.fixture(scope="module", params=DEVICES)
def whole(request, make_user_run, run_trainer):
    """A run that nothing interrupts, on one device and on two emulated ones."""
    data = DataSpec(path="data.npz", validation_split=0.1)
    folder = make_user_run(model=RANDOM, devices=DEVICES[request.param], data=data, train=TRAIN)
    return run_trainer(folder)


def failed(run, status, kind):
    """The message of a run that must have failed so, as the host finds it; the log shows it too."""
    assert run.status == status, run.stderr
    failure = run.json("failure.json")
    assert (failure["exit_status"], failure["kind"]) == (status, kind)
    assert failure["message"] in run.stderr
    return failure["message"]


@tensorflow_run
def test_finished_run_leaves_its_result(whole):
    assert whole.status == 0, whole.stderr
    result = whole.json("result.json")
    emulated = "MirroredStrategy" in whole.stdout
    assert result["state"] == "done"
    assert result["model"]["trainable_parameters"] == 100 * 8 + 8 + 16 + 27
    assert result["test"]["rows"] == 101
    assert result["test"]["accuracy"] > 0.8
    assert result["validation"]["rows"] == 30
    assert (result["epochs_run"], result["steps"]) == (3, 75)
    assert result["devices"]["strategy"] == ("MirroredStrategy" if emulated else "default")
    assert result["devices"]["replicas"] == len(result["devices"]["names"]) == 1 + emulated
    assert result["devices"]["emulated"] is emulated
    assert result["data"]["rows_train"] == 271
    assert set(result["versions"]) == {"hpcdl", "python", "tensorflow", "keras", "numpy"}
    assert {"import_s", "data_s", "build_s", "train_s", "per_epoch_s", "first_epoch_s"} <= set(
        result["timing"]
    )
    assert (whole.path / result["model"]["file"]).stat().st_size > 1000


@tensorflow_run
def test_log_describes_the_run(whole):
    assert "data: " in whole.stdout
    assert "301 training and 101 test images of 10x10x1 (uint8), 3 classes" in whole.stdout
    assert "batch_normalization" in whole.stdout
    epochs = [line for line in whole.stdout.splitlines() if line.startswith("epoch ")]
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("val_accuracy" in line and line.endswith("images/s") for line in epochs)
    assert ("EMULATED: 2 logical CPU devices stand in for 2 GPUs" in whole.stdout) is (
        "Mirrored" in whole.stdout
    )
    assert whole.stderr == "", "TensorFlow's chatter belongs into logs/1.tensorflow.log"
    assert (whole.path / "logs" / "1.tensorflow.log").exists()


@tensorflow_run
def test_heartbeat_and_metrics_are_complete(whole):
    beat = whole.json("heartbeat.json")
    assert (beat["phase"], beat["attempt"], beat["epoch"], beat["epochs"]) == ("done", 1, 3, 3)
    assert (beat["step"], beat["steps"], beat["steps_per_epoch"]) == (75, 75, 25)
    metrics = whole.metrics()
    assert [line["epoch"] for line in metrics] == [1, 2, 3]
    names = {
        "steps",
        "seconds",
        "images_per_s",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "time",
    }
    assert all(names < set(line) for line in metrics)


@tensorflow_run
def test_stopped_run_ends_with_same_weights(whole, make_user_run, run_trainer):
    stopped = make_user_run()
    shutil.copy(whole.path / "run.json", stopped.path)
    stop = stopped.path / "please-stop"
    calls = "30" if "Mirrored" not in whole.stdout else "60"  # in the second epoch
    stopped = run_trainer(stopped, HPCDL_STOP_FILE=str(stop), STOP_AT_CALL=calls)
    assert stopped.status == 75, stopped.stderr
    assert not (stopped.path / "result.json").exists()
    assert not (stopped.path / "failure.json").exists()
    at_step = int(stopped.checkpoints()[-1][:8])
    assert 30 <= at_step <= 50
    stop.unlink()
    resumed = run_trainer(stopped, HPCDL_ATTEMPT="2", HPCDL_STOP_FILE=str(stop))
    assert resumed.status == 0, resumed.stderr
    assert f"(step {at_step})" in resumed.stdout
    assert resumed.json("heartbeat.json")["attempt"] == 2
    expected = whole.newest_arrays()
    found = resumed.newest_arrays()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    timeless = [{"seconds": 0, "images_per_s": 0, "time": 0}] * 3
    assert [{**a, **b} for a, b in zip(resumed.metrics(), timeless, strict=True)] == [
        {**a, **b} for a, b in zip(whole.metrics(), timeless, strict=True)
    ]
    assert resumed.json("result.json")["test"] == whole.json("result.json")["test"]


@tensorflow_run
def test_finished_run_does_nothing(whole, run_trainer):
    before = (whole.path / "result.json").stat().st_mtime_ns
    again = run_trainer(whole, HPCDL_ATTEMPT="2")
    assert (again.status, again.stderr) == (0, "")
    assert "already done" in again.stdout
    assert (whole.path / "result.json").stat().st_mtime_ns == before


@tensorflow_run
def test_killed_run_only_evaluates(whole, run_trainer, tmp_path):
    """A run that was killed after its last epoch does not train again."""
    killed = replace(whole, path=tmp_path / "killed")
    shutil.copytree(whole.path, killed.path)
    (killed.path / "result.json").unlink()
    killed = run_trainer(killed, HPCDL_ATTEMPT="2")
    assert killed.status == 0, killed.stderr
    assert not any(line.startswith("epoch ") for line in killed.stdout.splitlines())
    assert killed.metrics() == whole.metrics()
    assert killed.json("result.json")["test"] == whole.json("result.json")["test"]


@tensorflow_run
def test_missing_gpus_error_has_both_numbers(make_run, run_trainer):
    run = run_trainer(make_run(devices=DeviceSpec(gpus=3)), CUDA_VISIBLE_DEVICES="")
    message = failed(run, 69, "device")
    assert message == "the run asks for 3 GPU(s) and TensorFlow sees 0 (CUDA_VISIBLE_DEVICES is '')"
    assert "nvidia-smi" in run.json("failure.json")["hint"]


@tensorflow_run
def test_diverging_run_names_epoch_and_step(make_run, run_trainer):
    train = TrainSpec(epochs=2, batch_size=20, optimizer=OptimizerSpec("sgd", 1e25))
    message = failed(run_trainer(make_run(train=train)), 1, "user_code")
    assert message.startswith(
        ("loss became nan at epoch 1 step ", "loss became inf at epoch 1 step ")
    )


@tensorflow_run
def test_out_of_memory_is_named(make_run, run_trainer):
    run = run_trainer(make_run(model=MlpSpec(dense=[10**12])))
    assert failed(run, 70, "out_of_memory").startswith("out of memory: ")
    assert "batch_size" in run.json("failure.json")["hint"]


@tensorflow_run
def test_user_code_error_shows_traceback(make_user_run, run_trainer):
    run = run_trainer(make_user_run(model=FunctionSpec("user_models:raises")))
    message = failed(run, 1, "user_code")
    assert message == "model.function user_models:raises failed: KeyError: 'no such key'"
    assert 'return {}["no such key"]' in run.stderr


def test_damaged_data_fail_before_tensorflow_starts(make_run, run_trainer, arrays):
    folder = make_run()
    damaged = {**arrays, "x_test": arrays["x_test"][:-1], "y_train": arrays["y_train"] * 0.5}
    np.savez(folder.path / "data.npz", **damaged)
    run = run_trainer(folder)
    message = failed(run, 65, "data")
    assert "x_test: has 100 images but y_test has 101 labels" in message
    assert "y_train: holds fractions" in message
    assert "tensorflow" not in run.stdout
    assert run.json("heartbeat.json")["phase"] == "loading"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run["train"].update(epochs=0), "train.epochs is 0; expected >= 1"),
        (lambda run: run["train"].update(epoch=5), "unknown keys ['epoch']"),
        (lambda run: run.update(schema_version=2), "schema_version 2"),
        (lambda run: run.pop("devices"), "missing keys ['devices']"),
    ],
)
def test_wrong_spec_is_refused(make_run, run_trainer, change, message):
    folder = make_run()
    run = folder.json("run.json")
    change(run)
    (folder.path / "run.json").write_text(json.dumps(run))
    assert message in failed(run_trainer(folder), 64, "spec")


def test_too_small_images_are_refused(make_run, run_trainer):
    from hpcdl.contract.spec import CnnSpec

    run = run_trainer(make_run(model=CnnSpec(filters=[8, 8, 8])))
    assert "the images have 10x10" in failed(run, 64, "spec")


def test_missing_run_json_is_refused(make_run, run_trainer):
    folder = make_run(model=MlpSpec())
    (folder.path / "run.json").unlink()
    assert "cannot be read" in failed(run_trainer(folder), 64, "spec")


@tensorflow_run
@pytest.mark.cases("fault 1")
def test_missing_tf_keras_is_named(make_run, run_trainer):
    """A module that hides tf_keras stands for a Python without it; make compat has one with it."""
    folder = make_run()
    (folder.path / "tf_keras.py").write_text("raise ImportError('none')\n")
    run = run_trainer(folder, TF_USE_LEGACY_KERAS="1")

    if run.status == 0:  # an old TensorFlow does not know the variable
        assert run.json("result.json")["versions"]["tensorflow"].startswith(
            ("2.11.", "2.12.", "2.13.")
        )
        return
    assert run.status == 70, run.stderr
    message = "TF_USE_LEGACY_KERAS=1 asks for tf-keras, which cannot be imported"
    failure = run.json("failure.json")
    assert (failure["kind"], failure["message"]) == ("internal", message)
    assert "name tf-keras, of TensorFlow's own version, in a requirements file" in failure["hint"]
