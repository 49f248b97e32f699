"""The devices that a run asks for, taken before anything else uses TensorFlow."""

from __future__ import annotations

import os

from hpcdl.contract.spec import RunSpec, SpecError
from hpcdl.contract.workers import read_workers
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.files.versions import compare_versions
from hpcdl.trainer.result import versions
from hpcdl.trainer.runtime.devices import Devices, check_all_reduce, choose_devices
from hpcdl.trainer.runtime.log import say


def take_devices(run: RunSpec, run_dir: RunDir) -> Devices:
    """Take the devices that a run asks for, on all its workers, and check that they add up right.

    Must be called before anything else uses TensorFlow: its first operation starts the devices,
    and then they cannot be chosen any more.

    Raises:
        DeviceError: TensorFlow sees others, they add up wrong, or not all workers come.
        SpecError: the run asks for what several workers cannot do.
    """
    run_dir.heartbeat(phase="compiling", epochs=run.train.epochs)
    of_this_image = versions()
    say("tensorflow {tensorflow}  keras {keras}  numpy {numpy}".format(**of_this_image))
    workers = read_workers(os.environ)
    if run.train.jit == "on" and workers.count > 1:
        raise SpecError("train.jit is on; expected auto or off with several workers")
    compare_versions(run_dir, workers, of_this_image)
    devices = choose_devices(run.devices, workers)
    say(
        "devices: {}; {} GPU(s) asked for; strategy: {}".format(
            ", ".join(devices.names), run.devices.gpus, devices.strategy_name
        )
    )
    check_all_reduce(devices)
    return devices
