"""Trainers that a server forks: bit for bit as fresh ones, whatever happens to others.

Nothing here imports TensorFlow, so that the same tests run against the Python of a container.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from hpcdl.contract.spec import DataSpec, DeviceSpec, FunctionSpec, OptimizerSpec, TrainSpec
from hpcdl.launch.fork_server import ForkServer
from hpcdl.launch.served_trainer import NotServedError
from tests.trainer.conftest import REPOSITORY, each_keras

pytestmark = [pytest.mark.tensorflow, each_keras]

MODELS = '''
"""A user's model, whose trainer stops, crashes or waits at a call."""
import os
import signal
import time

import tensorflow as tf

CALLS = []


def note_call():
    CALLS.append(1)
    if len(CALLS) == int(os.environ.get("STOP_AT_CALL", "0")):
        open(os.environ["HPCDL_STOP_FILE"], "w").close()
    if len(CALLS) == int(os.environ.get("CRASH_AT_CALL", "0")):
        os.kill(os.getpid(), signal.SIGSEGV)
    while "WAIT_FOR" in os.environ and not os.path.exists(os.environ["WAIT_FOR"]):
        time.sleep(0.05)


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(note_call, [], [])
        return tf.identity(inputs)


def random_layers(input_shape, classes, units):
    print("the user's print")
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input(input_shape), Watched(), layers.RandomTranslation(0.1, 0.1), layers.Flatten(),
        layers.Dense(units), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(classes),
    ])


def raises(input_shape, classes):
    return {}["no such key"]
'''
TRAIN = TrainSpec(epochs=3, batch_size=20, optimizer=OptimizerSpec(learning_rate=0.003))
DATA = DataSpec(path="data.npz", validation_split=0.1)
WALL_CLOCK = {"seconds": 0, "images_per_s": 0, "time": 0}


@pytest.fixture(scope="module")
def make_served_run(make_run):
    def make(function="random_layers", **sections):
        arguments = {"units": 8} if function == "random_layers" else {}
        model = FunctionSpec(f"served_models:{function}", arguments, "logits")
        run = make_run(**{"model": model, "data": DATA, "train": TRAIN, **sections})
        (run.path / "served_models.py").write_text(MODELS)
        (run.path / "logs").mkdir()
        return run

    return make


@pytest.fixture(scope="module")
def make_server(trainer_command, tmp_path_factory):
    servers = []

    def make():
        folder = tmp_path_factory.mktemp("server")
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        argv = [*trainer_command, "--serve"]
        servers.append(ForkServer(argv, environment, str(folder), folder / "server.log"))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(make_server):
    return make_server()


def start(server, run, attempt=1, **environment):
    folder = run.path
    own = {"HPCDL_ATTEMPT": str(attempt), "HPCDL_STOP_FILE": str(folder / "stop"), **environment}
    return server.start(str(folder / "run.json"), log_of(run, attempt), own, str(folder))


def log_of(run, attempt=1):
    return run.path / "logs" / f"{attempt}.log"


def until_in_log(run, text):
    deadline = time.monotonic() + 120
    log_of(run).touch()
    while text not in log_of(run).read_text():
        assert time.monotonic() < deadline, log_of(run).read_text()
        time.sleep(0.05)


def epochs_of(run):
    return [{**line, **WALL_CLOCK} for line in run.metrics()]


def predictions_of(run):
    with np.load(run.path / "predictions.npz") as archive:
        return {name: archive[name] for name in archive.files}


def assert_equal_runs(found, expected):
    """Metrics, the last checkpoint's arrays and the predictions are equal, bit for bit."""
    assert epochs_of(found) == epochs_of(expected)
    arrays = expected.newest_arrays()
    assert found.newest_arrays().keys() == arrays.keys()
    for name, array in found.newest_arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    predictions, right = predictions_of(found), predictions_of(expected)
    assert predictions.keys() == right.keys()
    for name, array in predictions.items():
        np.testing.assert_array_equal(array, right[name])
    assert found.json("result.json")["test"] == expected.json("result.json")["test"]


def test_served_trainers_equal_fresh_ones(server, make_served_run, run_trainer):
    """Two at once, one of them stopped and resumed, with a crash in between."""
    fresh = run_trainer(make_served_run())
    assert fresh.status == 0, fresh.stderr
    undisturbed, stopped, crashed = make_served_run(), make_served_run(), make_served_run()

    both = [start(server, undisturbed), start(server, stopped, STOP_AT_CALL="20")]
    assert [trainer.wait(240) for trainer in both] == [0, 75], server.log.read_text()
    assert not (stopped.path / "result.json").exists()
    assert start(server, crashed, CRASH_AT_CALL="20").wait(240) == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in log_of(crashed).read_text()
    (stopped.path / "stop").unlink()
    resumed = [start(server, stopped, 2), start(server, crashed, 2)]
    assert [trainer.wait(240) for trainer in resumed] == [0, 0]

    for served in (undisturbed, stopped, crashed):
        assert_equal_runs(served, fresh)
    log = log_of(undisturbed).read_text()
    assert "the user's print\n" in log
    assert log.count("epoch 1/3") == 1
    assert (undisturbed.path / "logs" / "1.tensorflow.log").exists()


def test_emulated_replicas_equal_fresh_ones(server, make_served_run, run_trainer):
    two = DeviceSpec(gpus=2, emulate=True)
    fresh, served = run_trainer(make_served_run(devices=two)), make_served_run(devices=two)

    assert start(server, served).wait(240) == 0, log_of(served).read_text()

    assert_equal_runs(served, fresh)


def test_faults_are_those_of_fresh_trainers(server, make_served_run, run_trainer):
    fresh, served = run_trainer(make_served_run("raises")), make_served_run("raises")

    assert start(server, served).wait(240) == fresh.status == 1

    assert served.json("failure.json") == fresh.json("failure.json")
    log = log_of(served).read_text()
    assert log.endswith(fresh.stderr.partition("error: ")[2])
    assert "KeyError: 'no such key'" in log
    (served.path / "run.json").write_text("{")
    assert start(server, served, 2).wait(60) == 64
    assert served.json("failure.json")["kind"] == "spec"


def test_dead_server_takes_its_trainers_along(make_server, make_served_run):
    """The next trainer gets a new server; after a second death there is none any more."""
    server = make_server()
    for _ in range(2):
        run = make_served_run()
        trainer = start(server, run, WAIT_FOR="/nowhere")
        until_in_log(run, "the user's print")
        os.kill(parent_of(trainer.pid), signal.SIGKILL)

        assert trainer.wait(60) == -signal.SIGKILL
        until_gone(trainer.pid)
    with pytest.raises(NotServedError):
        start(server, make_served_run())
    assert not server.is_usable


def test_closed_server_ends_its_trainers(server, make_served_run):
    """The last test of this server."""
    run = make_served_run()
    trainer = start(server, run, WAIT_FOR="/nowhere")
    until_in_log(run, "the user's print")
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.wait(0.1)
    assert trainer.poll() is None

    server.close()

    assert trainer.poll() == -signal.SIGKILL
    until_gone(trainer.pid)


def test_import_starts_no_device(trainer_command, tmp_path):
    """A process that has started a device must not fork."""
    code = (
        "from hpcdl.trainer import serve; serve._import_all()\n"
        "from tensorflow.python.eager import context\n"
        "print('started', context.context()._context_handle is not None)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    argv = [*trainer_command[:-2], "-c", code]

    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=240)

    assert done.stdout == "started False\n", done.stderr


def parent_of(pid):
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


def until_gone(pid):
    """Wait until a process has ended."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
