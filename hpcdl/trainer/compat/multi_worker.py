"""MultiWorkerMirroredStrategy: how soon it notices the end of a worker, and emulated devices."""

from __future__ import annotations

import importlib
from typing import Any, List, Tuple

import tensorflow as tf

from hpcdl.contract.errors import DeviceError
from hpcdl.trainer.compat.versions import is_keras_3, keras_release, keras_version

HEARTBEAT_S = 10  # a worker that is silent for longer is lost
REGISTER_S = 60  # a worker waits for worker 0 for as long; TensorFlow's own limit is an hour
# Where CoordinatedJob is: from TensorFlow 2.13 on or so, in between, and in 2.11
_MODULES = (
    "tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2",
    "tensorflow.tsl.protobuf.coordination_config_pb2",
    "tensorflow.core.protobuf.coordination_config_pb2",
)


def bound_waiting(workers: int) -> str:
    """Let TensorFlow notice within seconds that a worker is gone. Before the strategy is made.

    These calls are not public. Without them, TensorFlow's own limits hold.

    Args:
        workers: how many there are.

    Returns:
        why it cannot be done; empty if it is.
    """
    try:
        from tensorflow.python.eager import context

        job = _coordinated_job()(name="worker", num_tasks=workers)
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader="/job:worker/replica:0/task:0",
            cluster_register_timeout_in_ms=REGISTER_S * 1000,
            heartbeat_timeout_in_ms=HEARTBEAT_S * 1000,
            coordinated_jobs=[job],
        )
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        return "{}: {}".format(type(error).__name__, error)
    return ""


def _coordinated_job() -> Any:
    for name in _MODULES:
        try:
            return importlib.import_module(name).CoordinatedJob
        except (ImportError, AttributeError):
            continue
    raise ImportError("no module has CoordinatedJob")


def check_several_workers() -> None:
    """Raise a `DeviceError` unless this Keras trains on several workers."""
    if is_keras_3() and keras_release() < (3, 10):
        raise DeviceError(
            "Keras {} does not train on several nodes".format(keras_version()),
            "train on one node, or in an image with Keras 2, or 3.10 and newer",
        )


def multi_worker_strategy(emulated: List[str]) -> Any:
    """The strategy over all workers of TF_CONFIG, on the GPUs that TensorFlow sees.

    Args:
        emulated: the logical devices that stand in for GPUs, like CPU:0; empty for real ones.
    """
    from tensorflow.python.distribute import collective_all_reduce_strategy

    if len(emulated) > 1:
        # TensorFlow itself would take one CPU a worker
        def local_devices(_: Any, __: Any, worker: str) -> Tuple[Tuple[str, ...], str]:
            return tuple("{}/device:{}".format(worker, name) for name in emulated), "CPU"

        extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
        extended._initialize_local_devices = local_devices
    return tf.distribute.MultiWorkerMirroredStrategy()
