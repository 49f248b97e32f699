"""Which devices train: exactly those asked for, or an error within seconds, and the strategy over them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, List

import tensorflow as tf

from hpcdl.trainer.errors import DeviceError
from hpcdl.trainer.output import say
from hpcdl.trainer.spec import DeviceSpec


@dataclass
class Devices:
    """The devices of a run: their names for people, and the tf.distribute strategy over them."""

    strategy: Any
    strategy_name: str
    replicas: int
    names: List[str]
    emulated: bool


def choose(wanted: DeviceSpec) -> Devices:
    """Take the devices that the run asks for. Must be called before TensorFlow starts any device.

    Raises:
        DeviceError: when TensorFlow sees another number of GPUs than wanted.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if wanted.gpus == 0 or wanted.emulate:
        tf.config.set_visible_devices([], "GPU")
    if wanted.gpus == 0:
        return _devices(["CPU:0"], ["CPU"], False)
    if wanted.emulate:
        return _emulate(wanted.gpus)
    if len(gpus) != wanted.gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise DeviceError(
            "the run asks for {} GPU(s) and TensorFlow sees {} (CUDA_VISIBLE_DEVICES {})".format(
                wanted.gpus, len(gpus), "is not set" if visible is None else "is {!r}".format(visible)
            ),
            "in the job on that node, try nvidia-smi, then the same in the container (apptainer exec --nv); "
            "the image needs a TensorFlow built for CUDA, and the job --gres=gpu:{}".format(wanted.gpus),
        )
    for gpu in gpus:  # else TensorFlow takes all memory at once, and nobody sees what the run needs
        tf.config.experimental.set_memory_growth(gpu, True)
    models = [tf.config.experimental.get_device_details(gpu).get("device_name", "unknown model") for gpu in gpus]
    return _devices(["GPU:{}".format(index) for index in range(len(gpus))], models, False)


def _emulate(count: int) -> Devices:
    say("EMULATED: {} logical CPU devices stand in for {} GPUs; the figures say nothing of GPUs".format(count, count))
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    return _devices(["CPU:{}".format(index) for index in range(count)], ["emulated"] * count, True)


def _devices(devices: List[str], models: List[str], emulated: bool) -> Devices:
    names = [
        device if device.startswith(model) else "{} {}".format(device, model) for device, model in zip(devices, models)
    ]
    if len(devices) == 1:
        return Devices(tf.distribute.get_strategy(), "default", 1, names, emulated)
    return Devices(tf.distribute.MirroredStrategy(devices), "MirroredStrategy", len(devices), names, emulated)
