"""The all-reduce before a training on several replicas: right, wrong, or hanging."""

import os
import subprocess

import numpy as np
import pytest

from hpcdl.contract.spec import DeviceSpec, MlpSpec, TrainSpec
from tests.trainer.conftest import REPOSITORY

pytestmark = pytest.mark.tensorflow

# The trainer, on a machine whose all-reduce never ends: TensorFlow itself is stuck in it.
HANGS = """
import runpy, time
import tensorflow as tf
tf.distribute.ReplicaContext.all_reduce = lambda *_: tf.numpy_function(lambda: time.sleep(600), [], tf.float32)
runpy.run_module("hpcdl.trainer", run_name="__main__", alter_sys=True)
"""


def test_hanging_all_reduce_ends_the_trainer(make_run, trainer_command):
    run = make_run(devices=DeviceSpec(gpus=2, emulate=True))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HPCDL_ALL_REDUCE_S": "2"}
    argv = [*trainer_command[:-2], "-c", HANGS, str(run.path / "run.json")]

    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 69, ended.stderr
    failure = run.json("failure.json")
    assert (failure["exit_status"], failure["kind"]) == (69, "device")
    replicas = "2 replicas (CPU:0 emulated, CPU:1 emulated)"
    assert failure["message"] == f"an all-reduce over {replicas} does not end: it has had 2 s"
    assert f'error: {failure["message"]}\nhint: try NCCL_P2P_DISABLE: "1" under env' in ended.stderr
    assert not (run.path / "metrics.jsonl").exists()


@pytest.fixture
def devices(strategies):
    from hpcdl.trainer.runtime.devices import Devices

    return lambda replicas: Devices(strategies[replicas], "", replicas, ["a", "b"][:replicas], True)


def raises(*_):
    raise ValueError("unhandled system error\nat nccl.cc:7")


@pytest.mark.parametrize(
    ("all_reduce", "message"),
    [
        (lambda context, operation, value: value, "gives wrong sums: 522,198 of 524,288"),
        (raises, "fails: unhandled system error"),
    ],
    ids=["wrong", "raises"],
)
def test_wrong_all_reduce_is_found(tf, devices, monkeypatch, all_reduce, message):
    from hpcdl.contract.errors import DeviceError
    from hpcdl.trainer.runtime.devices import check_all_reduce

    monkeypatch.setattr(tf.distribute.ReplicaContext, "all_reduce", all_reduce)

    with pytest.raises(DeviceError) as caught:
        check_all_reduce(devices(2))
    assert caught.value.message == f"an all-reduce over 2 replicas (a, b) {message}"
    check_all_reduce(devices(1))  # which has nothing to add up


def test_all_reduce_check_changes_nothing(make_training, devices, capsys):
    from hpcdl.trainer.runtime.devices import check_all_reduce

    model, train = MlpSpec(dense=[8], dropout=0.3), TrainSpec(epochs=2, batch_size=20)
    without = make_training(model, train, replicas=2, name="without")()
    then = make_training(model, train, replicas=2, name="with")
    check_all_reduce(devices(2))
    then()

    assert "all-reduce over 2 replicas: right" in capsys.readouterr().out
    assert then.losses() == without.losses()
    for found, expected in zip(then.weights(), without.weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
