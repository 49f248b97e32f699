"""Two workers train one model: the same as one process, stopped, killed and gone on with.

The model has what replicas have apart: dropout and batch normalisation. It notes the number of each
image that it sees, which is in two of its pixels. Nothing here imports TensorFlow, so that the same
tests run against the Python of a container.
"""

import json
import shutil
import sys
from collections import Counter

import numpy as np
import pytest

from hpcdl.contract.spec import DataSpec, DeviceSpec, FunctionSpec, SavingSpec, TestSpec, TrainSpec
from hpcdl.contract.workers import to_tf_config
from tests.trainer.conftest import IMAGES, REPOSITORY, RunFolder, each_keras
from tests.trainer.pair import fork_workers, run_workers

pytestmark = pytest.mark.tensorflow
# These take more attempts, and need no other Keras
on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")

MODELS = '''
"""A user's model, which notes what it sees, and stops or kills its trainer at a step."""
import atexit
import json
import os
import signal

import numpy as np
import tensorflow as tf

FOLDER = os.path.dirname(os.path.abspath(__file__))
CALLS = []


def note(kind, low, high):
    if kind == 1:
        CALLS.append(1)
        if len(CALLS) == int(os.environ.get("STOP_AT_CALL", "0")):
            open(os.path.join(FOLDER, "stop"), "w").close()
        if len(CALLS) == int(os.environ.get("KILL_AT_CALL", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
    numbers = (low * 255).round().astype(int) + 256 * (high * 255).round().astype(int)
    text = "".join("{} {}\\n".format(kind, number) for number in numbers)
    with open(os.path.join(FOLDER, "seen"), "a") as file:
        file.write(text)


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        kind = 1 if training else 0
        tf.numpy_function(lambda low, high: note(kind, low, high), [inputs[:, 0, 0, 0], inputs[:, 0, 1, 0]], [])
        return tf.identity(inputs)


def model(input_shape, classes):
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        tf.keras.Input(input_shape), Watched(), layers.Flatten(), layers.Dense(16, activation="relu"),
        layers.BatchNormalization(momentum=0.8), layers.Dropout(0.2), layers.Dense(classes),
    ])
    atexit.register(note_weights, model)
    return model


def note_weights(model):
    rank = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0)
    weights = [np.ravel(variable.numpy()) for variable in model.trainable_variables]
    np.save(os.path.join(FOLDER, "weights-{}.npy".format(rank)), np.concatenate(weights))
'''
EPOCHS, TEST_ROWS, FIRST_TEST_ROW = 3, 101, 1000
SECTIONS = {
    "model": FunctionSpec("worker_models:model", {}, "logits"),
    "train": TrainSpec(epochs=EPOCHS, batch_size=26),
    "data": DataSpec(path="data.npz", validation_split=0.2),
    "saving": SavingSpec(every_steps=4),
    "test": TestSpec(explain="none"),
    "devices": DeviceSpec(gpus=2, emulate=True),
}


@pytest.fixture(scope="module")
def make_watched(make_run, arrays):
    """Makes a run folder whose images have their number in two pixels."""

    def make(gpus: int) -> RunFolder:
        run: RunFolder = make_run(**{**SECTIONS, "devices": DeviceSpec(gpus=gpus, emulate=True)})
        marked = {name: array.copy() for name, array in arrays.items()}
        for name, first in (("x_train", 0), ("x_test", FIRST_TEST_ROW)):
            numbers = first + np.arange(len(marked[name]))
            marked[name][:, 0, 0], marked[name][:, 0, 1] = numbers % 256, numbers // 256
        np.savez(run.path / "data.npz", **marked)
        (run.path / "worker_models.py").write_text(MODELS)
        return run

    return make


@pytest.fixture(scope="module")
def one_process(make_watched, run_trainer):
    """The run in one process, with as many replicas as two workers have."""
    run = run_trainer(make_watched(gpus=4))
    assert run.status == 0, run.stderr
    return run


@pytest.fixture(scope="module")
def stopped(make_watched, forked_trainers):
    """Both workers of a run that was asked to stop."""
    run = make_watched(gpus=2)
    return fork_workers(forked_trainers, run.path, 2, {1: {"STOP_AT_CALL": "10"}})


def continued(stopped, name):
    """A copy of the stopped run, as another attempt finds it."""
    folder = stopped[0].path.with_name(stopped[0].path.name + name)
    shutil.copytree(stopped[0].path, folder)
    (folder / "stop").unlink()
    return folder


@pytest.fixture(scope="module")
def whole(stopped, forked_trainers):
    """Both workers of the attempt that goes on to the end."""
    workers = fork_workers(forked_trainers, continued(stopped, "-whole"), 2)
    assert [worker.status for worker in workers] == [0, 0], workers[0].stderr + workers[1].stderr
    return workers


@pytest.fixture(scope="module")
def killed(stopped, forked_trainers):
    """Both workers of an attempt whose worker 1 is killed, and both of the next one."""
    folder = continued(stopped, "-killed")
    first = fork_workers(forked_trainers, folder, 2, {1: {"KILL_AT_CALL": "16"}})
    failure = first[0].json("failure.json")
    return failure, first, fork_workers(forked_trainers, folder, 2)


@each_keras
def test_workers_stop_at_one_step(stopped):
    assert [worker.status for worker in stopped] == [75, 75], stopped[0].stderr + stopped[1].stderr
    steps = {worker.json("heartbeat.json")["step"] for worker in stopped}
    assert len(steps) == 1
    assert stopped[0].checkpoints()[-1] == f"{steps.pop():08d}.npz"
    assert not (stopped[1].path / "checkpoints").exists()
    for worker in stopped:
        assert "MultiWorkerMirroredStrategy" in worker.stdout
        assert "all-reduce over 4 replicas: right" in worker.stdout


@each_keras
def test_workers_train_the_same_model(one_process, whole):
    for found, expected in zip(whole[0].metrics(), one_process.metrics(), strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    arrays, expected = whole[0].newest_arrays(), one_process.newest_arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=2e-3)
    result, of_one = whole[0].json("result.json"), one_process.json("result.json")
    assert result["test"] == pytest.approx(of_one["test"], rel=1e-3)
    assert result["devices"]["replicas"] == 4
    assert result["devices"]["names"][2] == "worker 1 CPU:0 emulated"
    paths = [run.path / "predictions.npz" for run in (whole[0], one_process)]
    found, answers = (dict(np.load(path)) for path in paths)
    assert sorted(found) == sorted(answers)
    for name in ("labels", "looks"):
        np.testing.assert_array_equal(found[name], answers[name])
    np.testing.assert_allclose(found["probabilities"], answers["probabilities"], atol=2e-3)


@each_keras
def test_weights_are_equal_on_all_workers(whole):
    weights = [np.load(whole[0].path / f"weights-{rank}.npy") for rank in range(2)]
    assert np.ptp(weights[0]) > 0
    np.testing.assert_array_equal(weights[0], weights[1])


@each_keras
def test_every_row_is_seen_once(whole):
    """In training once an epoch, by one worker; in each scoring once."""
    seen = Counter((whole[0].path / "seen").read_text().splitlines())
    trained = {line: count for line, count in seen.items() if line.startswith("1 ")}
    validated = dict.fromkeys((f"0 {row}" for row in range(301) if f"1 {row}" not in trained), 3)
    # On the test rows the model is scored, and then gives its predictions
    tested = {f"0 {FIRST_TEST_ROW + row}": 2 for row in range(TEST_ROWS)}

    assert set(trained.values()) == {EPOCHS}
    assert len(trained) == whole[0].json("result.json")["data"]["rows_train"]
    for line, count in {**validated, **tested}.items():
        assert seen[line] == count or line in ("0 0", "0 1"), line  # these two build the metrics


@on_host
def test_killed_worker_costs_nothing(killed, whole):
    """The other one notices, and says whose fault it is not; the next attempt ends bit-equal."""
    failure, first, then = killed
    assert first[1].status in (-9, 137)
    assert first[0].status == 70, first[0].stderr
    assert failure["kind"] == "peer"
    assert [worker.status for worker in then] == [0, 0], then[0].stderr + then[1].stderr
    assert "resuming from" in then[1].stdout
    arrays, expected = then[0].newest_arrays(), whole[0].newest_arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name])


@each_keras
def test_second_worker_leaves_only_its_logs(whole):
    names = sorted(path.name for path in whole[1].path.iterdir())

    assert names == ["heartbeat.json", "logs"]
    assert whole[1].json("heartbeat.json")["phase"] == "done"
    assert (whole[0].path / whole[0].json("result.json")["model"]["file"]).exists()


@on_host
def test_one_worker_goes_on_alone(stopped, run_trainer):
    """With another number of replicas."""
    folder = continued(stopped, "-alone")
    spec = json.loads((folder / "run.json").read_text())
    spec["devices"]["gpus"] = 1
    (folder / "run.json").write_text(json.dumps(spec))

    alone = run_trainer(RunFolder(folder))

    assert alone.status == 0, alone.stderr
    assert "it is of 4 replica(s), and this attempt has 1" in alone.stdout
    assert alone.json("result.json")["epochs_run"] == EPOCHS
    assert alone.json("result.json")["test"]["accuracy"] > 0.6


def test_late_worker_is_named(make_watched):
    """TensorFlow would wait for it for ever; here the bound is a second."""
    run = make_watched(gpus=2)
    config = to_tf_config(["127.0.0.1:1", "127.0.0.1:2"], 0)
    argv = [sys.executable, "-m", "hpcdl.trainer"]
    variables = {"TF_CONFIG": config, "HPCDL_WORKERS_S": "1"}

    (worker,) = run_workers(argv, run.path, 1, of_one={0: variables})

    assert worker.status == 69, worker.stderr
    failure = run.json("failure.json")
    assert failure["message"] == "worker 1 (127.0.0.1:2) has not imported TensorFlow after 1 s"


@pytest.mark.testbed
def test_other_tensorflow_is_refused(make_watched):
    """Before they connect: then they would wait for each other for ever."""
    run = make_watched(gpus=2)
    image = ["apptainer", "exec", "--userns", "--no-home", "--bind", str(REPOSITORY)]
    in_image = [*image, str(IMAGES / "tf2.11-py39.sif"), "python", "-m", "hpcdl.trainer"]
    here = [sys.executable, "-m", "hpcdl.trainer"]

    workers = run_workers(here, run.path, 2, argv_of_last=in_image)

    assert [worker.status for worker in workers] == [69, 69], workers[0].stderr
    for worker in workers:
        message = worker.json("failure.json")["message"]
        assert "have other versions: " in message
        assert "tensorflow 2.21.0 and 2.11.1" in message
