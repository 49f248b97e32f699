"""What ``hpcdl check --probe`` asks a node: whether all devices are there, and add up together."""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Dict

from hpcdl.contract.probe import FILE, SITE, SITE_FILE
from hpcdl.contract.spec import SCHEMA_VERSION, RunSpec
from hpcdl.contract.workers import read_workers
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir, write_json
from hpcdl.trainer.files.versions import compare_versions
from hpcdl.trainer.node_facts import node_facts, write_facts
from hpcdl.trainer.runtime.log import quiet_import, say

_MB = 64  # as the gradients of a net of 16 million weights


def probe(run: RunSpec, run_dir: RunDir) -> None:
    """Take the run's devices as its training would, and let them add up; nothing is trained.

    Args:
        run: the run.
        run_dir: its folder, which gets `hpcdl.contract.probe.FILE` and result.json.

    Raises:
        DeviceError: a device is missing, or they do not work together.
        PeerLost: another worker has ended.
    """
    site: Dict[str, Any] = {}
    if os.environ.get(SITE) == "1":
        site = node_facts(time.time())
        write_facts(run_dir.path(SITE_FILE), site)
    with quiet_import():
        from hpcdl.trainer.result import cuda_of_image, versions
        from hpcdl.trainer.runtime import devices as of_node

    run_dir.heartbeat(phase="compiling")
    workers, of_this_image = read_workers(os.environ), versions()
    say("tensorflow {tensorflow}  keras {keras}  numpy {numpy}".format(**of_this_image))
    if site:
        write_facts(run_dir.path(SITE_FILE), dict(site, cuda=cuda_of_image()))
    compare_versions(run_dir, workers, of_this_image)
    devices = of_node.choose_devices(run.devices, workers)
    say("devices: {}".format(", ".join(devices.names)))
    answer: Dict[str, Any] = {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "devices": devices.own_names,
        "strategy": devices.strategy_name,
        "replicas": devices.replicas,
        "versions": of_this_image,
        "all_reduce_s": of_node.check_all_reduce(devices),
        "mb": _MB,
        "again_s": None,
    }
    if devices.replicas > 1:
        answer["again_s"] = of_node.time_all_reduce(devices, _MB)
    keep_trying(FILE, lambda: write_json(run_dir.path(FILE), answer))
    if devices.together.first:
        result = {"schema_version": SCHEMA_VERSION, "state": "done", "name": run.name}
        run_dir.write_result(dict(result, probe=answer))
    devices.together.wait_for_all()  # who ends earlier would end worker 0 as it writes
    run_dir.heartbeat(phase="done")
