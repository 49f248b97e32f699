"""The devices that train: exactly those asked for, and able to talk to each other, or an error."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any, List, Optional

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import DeviceError
from hpcdl.contract.spec import DeviceSpec
from hpcdl.trainer.runtime.log import say

ALL_REDUCE_S = 60.0  # for the first all-reduce; HPCDL_ALL_REDUCE_S takes its place
_UNBOUNDED = "cuda_malloc_async"  # CUDA's own allocator
_FLOATS = 2**18  # 1 MiB, as a layer's gradients may have
_HINT = (
    'try NCCL_P2P_DISABLE: "1" under env in the job file, for GPUs that cannot reach each other '
    "directly, and NCCL_DEBUG: INFO, which writes into the log what NCCL does; or another node, "
    "slurm: {exclude: NODE}"
)


@dataclass
class Devices:
    """The devices of a run: their names for people, and the tf.distribute strategy over them."""

    strategy: Any
    strategy_name: str
    replicas: int
    names: List[str]
    emulated: bool


def choose_devices(spec: DeviceSpec) -> Devices:
    """Take the devices that the run asks for. Must be called before TensorFlow starts any device.

    Raises:
        DeviceError: when TensorFlow sees another number of GPUs than spec.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if spec.gpus == 0 or spec.emulate:
        tf.config.set_visible_devices([], "GPU")
    if spec.gpus == 0:
        return _devices(["CPU:0"], ["CPU"], False)
    if spec.emulate:
        return _emulate(spec.gpus)
    if len(gpus) != spec.gpus:
        raise _other_number_of_gpus(spec.gpus, len(gpus))
    for gpu in gpus:
        _bound_memory(gpu, spec.memory_mb)
    models = []
    for gpu in gpus:  # only then: to ask for details may start the devices
        details = tf.config.experimental.get_device_details(gpu)
        models.append(details.get("device_name", "unknown model"))
    return _devices(["GPU:{}".format(index) for index in range(len(gpus))], models, False)


def _bound_memory(gpu: Any, memory_mb: Optional[int]) -> None:
    """Let TensorFlow take a share of a GPU's memory or, without one, only what it needs.

    Growing is no share: of two runs that grow on one GPU, the slower one fails. The share bounds
    TensorFlow's arrays; CUDA's own memory comes on top.

    Raises:
        DeviceError: TensorFlow is told to use an allocator that knows no bound.
    """
    if memory_mb is None:
        # Otherwise TensorFlow takes all memory at once, and nobody sees what the run needs.
        tf.config.experimental.set_memory_growth(gpu, True)
        return
    if os.environ.get("TF_GPU_ALLOCATOR") == _UNBOUNDED:
        raise DeviceError(
            "the run may take {} MiB of its GPU, and TF_GPU_ALLOCATOR={} knows no bound".format(
                memory_mb, _UNBOUNDED
            ),
            "take TF_GPU_ALLOCATOR out of env, or run one trial on a GPU (trials_per_gpu: 1)",
        )
    share = tf.config.LogicalDeviceConfiguration(memory_limit=memory_mb)
    tf.config.set_logical_device_configuration(gpu, [share])


def _other_number_of_gpus(expected: int, visible: int) -> DeviceError:
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    value = "is not set" if variable is None else "is {!r}".format(variable)
    message = "the run asks for {} GPU(s) and TensorFlow sees {} (CUDA_VISIBLE_DEVICES {})"
    remedy = (
        "in the job on that node, try nvidia-smi, then the same in the container "
        "(apptainer exec --nv); the image needs a TensorFlow built for CUDA, "
        "and the job --gres=gpu:{}"
    )
    return DeviceError(message.format(expected, visible, value), remedy.format(expected))


def _emulate(count: int) -> Devices:
    message = (
        "EMULATED: {} logical CPU devices stand in for {} GPUs; the figures say nothing about GPUs"
    )
    say(message.format(count, count))
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    return _devices(["CPU:{}".format(index) for index in range(count)], ["emulated"] * count, True)


def _devices(devices: List[str], models: List[str], emulated: bool) -> Devices:
    names = []
    for device, model in zip(devices, models):
        name = device
        if not device.startswith(model):  # CPU:0 CPU would say nothing new
            name = "{} {}".format(device, model)
        names.append(name)
    if len(devices) == 1:
        return Devices(tf.distribute.get_strategy(), "default", 1, names, emulated)
    strategy = tf.distribute.MirroredStrategy(devices)
    return Devices(strategy, "MirroredStrategy", len(devices), names, emulated)


def check_all_reduce(devices: Devices) -> None:
    """Add up an array over all replicas, as training does with the gradients after each step.

    On some machines that hangs, and on a few the sums are wrong. Detected here, it costs a minute
    and not the whole time limit. It draws no random number and makes no variable, so that no result
    depends on it.

    Raises:
        DeviceError: the sums are wrong, or missing after ALL_REDUCE_S seconds.
    """
    if devices.replicas == 1:
        return
    limit_s = float(os.environ.get("HPCDL_ALL_REDUCE_S", ALL_REDUCE_S))
    array = tf.constant(np.arange(_FLOATS) % 251, tf.float32)
    # First each device alone, without a limit: a GPU may be slow to start.
    for device in devices.strategy.extended.worker_devices:
        with tf.device(device):
            float(tf.reduce_sum(array))
    faults: List[str] = []
    thread = threading.Thread(
        target=_add_up, args=(devices, array, faults), name="all-reduce", daemon=True
    )
    started = time.perf_counter()
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        faults = ["does not end: it has had {:g} s".format(limit_s)]
    if faults:
        message = "an all-reduce over {} replicas ({}) {}"
        names = ", ".join(devices.names)
        raise DeviceError(message.format(devices.replicas, names, faults[0]), _HINT)
    seconds = time.perf_counter() - started
    say("all-reduce over {} replicas: right, {:.2f} s".format(devices.replicas, seconds))


def _add_up(devices: Devices, array: Any, faults: List[str]) -> None:
    """Add up an array over all replicas; appends what is wrong with it to `faults`."""
    try:
        # The array is an argument: TensorFlow would compute the sum of a constant beforehand.
        call = tf.function(lambda x: devices.strategy.run(_sum, args=(x,)), autograph=False)
        sums = [copy.numpy() for copy in devices.strategy.experimental_local_results(call(array))]
    except Exception as error:  # whatever it is, training would fail as well
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        faults.append("fails: {}".format(message))
        return
    expected = array.numpy() * (devices.replicas * (devices.replicas + 1) // 2)
    wrong_sums = sum(int(np.count_nonzero(copy != expected)) for copy in sums)
    if wrong_sums:
        count = expected.size * len(sums)
        faults.append("gives wrong sums: {:,} of {:,}".format(wrong_sums, count))


def _sum(array: Any) -> Any:
    """The sum over all replicas, each with another multiple of the array: exact whole numbers."""
    context = tf.distribute.get_replica_context()
    part = array * tf.cast(context.replica_id_in_sync_group + 1, tf.float32)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, part)
