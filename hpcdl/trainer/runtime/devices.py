"""The devices that train: exactly those asked for, and able to talk to each other, or an error."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, List, Optional

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import DeviceError
from hpcdl.contract.spec import DeviceSpec
from hpcdl.contract.workers import Workers
from hpcdl.trainer import compat
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.runtime.peers import peer_lost
from hpcdl.trainer.runtime.together import Together, together_of

ALL_REDUCE_S = 60.0  # for the first all-reduce; HPCDL_ALL_REDUCE_S takes its place
_OVER_WORKERS_S = 180.0  # the GPUs of another node may start more slowly
_UNBOUNDED = "cuda_malloc_async"  # CUDA's own allocator
_FLOATS = 2**18  # 1 MiB, as a layer's gradients may have
_HINT = (
    'try NCCL_P2P_DISABLE: "1" under env in the job file, for GPUs that cannot reach each other '
    "directly, and NCCL_DEBUG: INFO, which writes into the log what NCCL does; or another node, "
    'slurm: {exclude: NODE}. HPCDL_ALL_REDUCE_S: "600" under env gives it more time'
)


@dataclass
class Devices:
    """The devices of a run: their names for people, and the tf.distribute strategy over them."""

    strategy: Any
    strategy_name: str
    replicas: int
    names: List[str]
    emulated: bool

    @property
    def own_names(self) -> List[str]:
        """The names of this worker's devices, as it alone calls them."""
        own = self.names[: len(self.names) // self.together.workers]
        return [name.split("worker 0 ")[-1] for name in own]

    @property
    def together(self) -> Together:
        """What the replicas tell each other."""
        return together_of(self.strategy)


def choose_devices(spec: DeviceSpec, workers: Optional[Workers] = None) -> Devices:
    """Take the devices that the run asks for. Must be called before TensorFlow starts any device.

    Args:
        spec: what this worker has.
        workers: the workers of the run; None if it has one.

    Raises:
        DeviceError: TensorFlow sees another number of GPUs than spec, or not all workers come.
    """
    workers = workers or Workers()
    gpus = tf.config.list_physical_devices("GPU")
    if spec.gpus == 0 or spec.emulate:
        tf.config.set_visible_devices([], "GPU")
    if spec.gpus == 0:
        return _devices(["CPU:0"], ["CPU"], False, workers)
    if spec.emulate:
        return _emulate(spec.gpus, workers)
    if len(gpus) != spec.gpus:
        raise _other_number_of_gpus(spec.gpus, len(gpus))
    for gpu in gpus:
        _bound_memory(gpu, spec.memory_mb)
    models = []
    for gpu in gpus:  # only then: to ask for details may start the devices
        details = tf.config.experimental.get_device_details(gpu)
        models.append(details.get("device_name", "unknown model"))
    names = ["GPU:{}".format(index) for index in range(len(gpus))]
    return _devices(names, models, False, workers)


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


def _emulate(count: int, workers: Workers) -> Devices:
    message = (
        "EMULATED: {} logical CPU devices stand in for {} GPUs; the figures say nothing about GPUs"
    )
    say(message.format(count, count))
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    names = ["CPU:{}".format(index) for index in range(count)]
    return _devices(names, ["emulated"] * count, True, workers)


def _devices(devices: List[str], models: List[str], emulated: bool, workers: Workers) -> Devices:
    names = []
    for device, model in zip(devices, models):
        name = device
        if not device.startswith(model):  # CPU:0 CPU would say nothing new
            name = "{} {}".format(device, model)
        names.append(name)
    if workers.count > 1:
        return _over_workers(devices, names, emulated, workers)
    if len(devices) == 1:
        return Devices(tf.distribute.get_strategy(), "default", 1, names, emulated)
    strategy = tf.distribute.MirroredStrategy(devices)
    return Devices(strategy, "MirroredStrategy", len(devices), names, emulated)


def _over_workers(
    devices: List[str], names: List[str], emulated: bool, workers: Workers
) -> Devices:
    """The devices of all workers, each of which has as many as this one.

    Raises:
        DeviceError: this Keras cannot; or not all workers have come in time.
        PeerLost: TensorFlow says so.
    """
    compat.check_several_workers()
    say("worker {} of {}: {}".format(workers.rank, workers.count, ", ".join(workers.addresses)))
    problem = compat.bound_waiting(workers.count)
    if problem:
        message = "TensorFlow's own limits hold for a worker that does not answer ({})"
        say(message.format(problem))
    own = [name for name in devices if name.startswith("CPU")]
    strategies: List[Any] = []
    limit_s = compat.REGISTER_S + _limit_s(workers.count)
    if not _in_time(lambda: strategies.append(compat.multi_worker_strategy(own)), limit_s):
        message = "not all of the {} workers ({}) have come in {:g} s"
        raise DeviceError(
            message.format(workers.count, ", ".join(workers.addresses), limit_s),
            "the logs of the others say why; a firewall between the nodes is one reason",
        )
    every_name = []
    for rank in range(workers.count):
        every_name += ["worker {} {}".format(rank, name) for name in names]
    name = "MultiWorkerMirroredStrategy"
    return Devices(strategies[0], name, len(every_name), every_name, emulated)


def _limit_s(workers: int) -> float:
    usual_s = ALL_REDUCE_S if workers == 1 else _OVER_WORKERS_S
    return float(os.environ.get("HPCDL_ALL_REDUCE_S", usual_s))


def _in_time(work: Callable[[], None], limit_s: float) -> bool:
    """Do something that may never end; returns whether it has ended after `limit_s` seconds.

    Raises:
        Exception: what it raised.
    """
    errors: List[Exception] = []

    def noting() -> None:
        try:
            work()
        except Exception as error:  # raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=noting, name="devices", daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    return not thread.is_alive()


def check_all_reduce(devices: Devices) -> Optional[float]:
    """Add up an array over all replicas, as training does with the gradients after each step.

    On some machines that hangs, and on a few the sums are wrong. Detected here, it costs a minute
    and not the whole time limit. It draws no random number and makes no variable, so that no result
    depends on it.

    Returns:
        the seconds that it took; None with one replica.

    Raises:
        DeviceError: the sums are wrong, or missing after ALL_REDUCE_S seconds.
        PeerLost: another worker has ended meanwhile.
    """
    if devices.replicas == 1:
        return None
    limit_s = _limit_s(devices.together.workers)
    array = tf.constant(np.arange(_FLOATS) % 251, tf.float32)
    # First each device alone, without a limit: a GPU may be slow to start.
    for device in devices.strategy.extended.worker_devices:
        with tf.device(device):
            float(tf.reduce_sum(array))
    faults: List[str] = []
    started = time.perf_counter()
    if not _in_time(lambda: _add_up(devices, array, faults), limit_s):
        faults = ["does not end: it has had {:g} s".format(limit_s)]
    if faults:
        message = "an all-reduce over {} replicas ({}) {}"
        names = ", ".join(devices.names)
        raise DeviceError(message.format(devices.replicas, names, faults[0]), _HINT)
    seconds = time.perf_counter() - started
    say("all-reduce over {} replicas: right, {:.2f} s".format(devices.replicas, seconds))
    return seconds


def time_all_reduce(devices: Devices, mb: int) -> float:
    """The seconds of one all-reduce when all is set up.

    Args:
        devices: more than one replica, which `check_all_reduce` has checked.
        mb: size of the array, in MiB.

    Raises:
        DeviceError: it does not end, or fails.
        PeerLost: another worker has ended meanwhile.
    """
    call = tf.function(lambda x: devices.strategy.run(_sum, args=(x,)), autograph=False)
    array = tf.ones([mb * _FLOATS], tf.float32)
    seconds: List[float] = []
    limit_s = _limit_s(devices.together.workers)

    def add_up() -> None:
        for _ in range(2):  # the first one traces
            started = time.perf_counter()
            for copy in devices.strategy.experimental_local_results(call(array)):
                float(copy[0])
            seconds.append(time.perf_counter() - started)

    try:
        if _in_time(add_up, limit_s):
            return seconds[-1]
        fault = "does not end: it has had {:g} s".format(limit_s)
    except tf.errors.OpError as error:
        lost = peer_lost(error)
        if lost is not None:
            raise lost from error
        fault = "fails: {}".format(str(error).strip().splitlines()[0])
    message = "an all-reduce of {} MB over {} replicas {}"
    raise DeviceError(message.format(mb, devices.replicas, fault), _HINT)


def _add_up(devices: Devices, array: Any, faults: List[str]) -> None:
    """Add up an array over all replicas; appends what is wrong with it to `faults`."""
    try:
        # The array is an argument: TensorFlow would compute the sum of a constant beforehand.
        call = tf.function(lambda x: devices.strategy.run(_sum, args=(x,)), autograph=False)
        sums = [copy.numpy() for copy in devices.strategy.experimental_local_results(call(array))]
    except Exception as error:  # whatever it is, training would fail as well
        lost = peer_lost(error)
        if lost is not None:
            raise lost from error
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        faults.append("fails: {}".format(message))
        return
    expected = array.numpy() * (devices.replicas * (devices.replicas + 1) // 2)
    wrong_sums = [int(np.count_nonzero(copy != expected)) for copy in sums]
    if any(wrong_sums):
        count = expected.size * len(sums)
        places = [name for name, number in zip(devices.own_names, wrong_sums) if number]
        faults.append(
            "gives wrong sums: {:,} of {:,}, on {}".format(
                sum(wrong_sums), count, ", ".join(places)
            )
        )


def _sum(array: Any) -> Any:
    """The sum over all replicas, each with another multiple of the array: exact whole numbers."""
    context = tf.distribute.get_replica_context()
    part = array * tf.cast(context.replica_id_in_sync_group + 1, tf.float32)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, part)
