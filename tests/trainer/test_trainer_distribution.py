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
        (lambda context, operation, value: value, "gives wrong sums: 522,198 of 524,288, on a, b"),
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


class FakeConfig:
    """Stands for tf.config on a machine with GPUs; notes what it is asked for, in order."""

    def __init__(self, gpus):
        self.gpus = gpus
        self.calls = []
        self.experimental = self

    def list_physical_devices(self, kind):
        return [f"/physical_device:{kind}:{number}" for number in range(self.gpus)]

    def set_memory_growth(self, gpu, growth):
        self.calls.append(("growth", gpu))

    def LogicalDeviceConfiguration(self, memory_limit):  # noqa: N802 - as TensorFlow names it
        return memory_limit

    def set_logical_device_configuration(self, gpu, shares):
        self.calls.append((gpu, shares))

    def get_device_details(self, gpu):
        self.calls.append(("details", gpu))
        return {"device_name": "H100"}


@pytest.fixture
def on_gpu(tf, monkeypatch):
    """The devices chosen on a machine with one GPU, and the calls of tf.config."""
    from hpcdl.trainer.runtime import devices

    def of(spec):
        config = FakeConfig(spec.gpus)
        monkeypatch.setattr(tf, "config", config)
        return devices.choose_devices(spec), config.calls

    return of


def test_share_of_gpu_memory_comes_first(on_gpu):
    """The bound is set before anything may start the GPU, and in place of growth."""
    chosen, calls = on_gpu(DeviceSpec(gpus=1, memory_mb=9000))

    gpu = "/physical_device:GPU:0"
    assert calls == [(gpu, [9000]), ("details", gpu)]
    assert chosen.names == ["GPU:0 H100"]
    assert on_gpu(DeviceSpec(gpus=1))[1] == [("growth", gpu), ("details", gpu)]


def test_allocator_without_bound_is_refused(on_gpu, monkeypatch):
    from hpcdl.contract.errors import DeviceError

    monkeypatch.setenv("TF_GPU_ALLOCATOR", "cuda_malloc_async")
    with pytest.raises(DeviceError) as caught:
        on_gpu(DeviceSpec(gpus=1, memory_mb=9000))

    assert "9000 MiB" in caught.value.message
    assert "trials_per_gpu: 1" in caught.value.hint
    on_gpu(DeviceSpec(gpus=1))


def test_other_devices_continue_a_run(tf, spec):
    """A run may go on from its checkpoint on other devices; an older hpcdl counted the GPUs."""
    from dataclasses import replace

    from hpcdl.trainer.result import fingerprints

    shares = [DeviceSpec(gpus=1, memory_mb=memory_mb) for memory_mb in (None, 4000, 9000)]
    four = fingerprints(replace(spec, devices=DeviceSpec(gpus=4)))

    assert len({str(fingerprints(replace(spec, devices=devices))) for devices in shares}) == 1
    assert four[0] == fingerprints(spec)[0]
    assert four[1] not in fingerprints(spec)
    assert four[1] == "f64741a7db36f6c5e1ab5da51e467bfcea3912f5d708e91209730fe659c8b688"
