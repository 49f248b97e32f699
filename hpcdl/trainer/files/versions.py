"""The workers of a run compare their versions, before TensorFlow connects them."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, Dict, List, Optional

from hpcdl.contract import run_files
from hpcdl.contract.errors import DeviceError
from hpcdl.contract.workers import Workers
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir, write_json

WAIT_S = 600.0  # for the slowest import of TensorFlow; HPCDL_WORKERS_S takes its place
_LOOK_S = 0.1


def compare_versions(run_dir: RunDir, workers: Workers, versions: Dict[str, str]) -> None:
    """Wait until all workers have imported TensorFlow, and compare what they have.

    Workers with two versions of TensorFlow connect, add up right, and then wait for each other for
    ever. And TensorFlow itself does not say who is missing.

    Args:
        run_dir: the run folder, through which they tell each other.
        workers: of the run.
        versions: this worker's, by name.

    Raises:
        DeviceError: a worker has other versions, or has not come in time.
    """
    if workers.count == 1:
        return
    own = {
        "node": socket.gethostname(),
        "versions": versions,
        # Of this attempt: there may be a file of an earlier one with the same number
        "addresses": list(workers.addresses),
    }
    path = _path(run_dir, workers.rank)

    def publish() -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_json(path, own)

    keep_trying("the versions of this worker", publish)
    of_first = own
    for rank in range(workers.count):
        other = own if rank == workers.rank else _wait_for(run_dir, workers, rank)
        if rank == 0:
            of_first = other
        _refuse_difference(of_first, other, rank)


def _path(run_dir: RunDir, rank: int) -> str:
    attempt = "attempt-{}".format(run_dir.attempt)
    return run_dir.shared(run_files.WORKERS, attempt, "{}.versions.json".format(rank))


def _wait_for(run_dir: RunDir, workers: Workers, rank: int) -> Dict[str, Any]:
    """What another worker says; waits for it.

    Raises:
        DeviceError: it has not come in time.
    """
    limit_s = float(os.environ.get("HPCDL_WORKERS_S", WAIT_S))
    until = time.monotonic() + limit_s
    while True:
        card = _read(_path(run_dir, rank))
        if card is not None and card.get("addresses") == list(workers.addresses):
            return card
        if time.monotonic() >= until:
            raise DeviceError(
                "worker {} ({}) has not imported TensorFlow after {:g} s".format(
                    rank, workers.addresses[rank], limit_s
                ),
                "its log says why, if it has started; and its node must see this run folder",
            )
        run_dir.heartbeat()
        time.sleep(_LOOK_S)


def _read(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            card = json.load(file)
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) else None


def _refuse_difference(first: Dict[str, Any], other: Dict[str, Any], rank: int) -> None:
    differences: List[str] = []
    for name, version in sorted(first["versions"].items()):
        of_other = other["versions"].get(name)
        if of_other != version:
            differences.append("{} {} and {}".format(name, version, of_other))
    if differences:
        message = "worker 0 on {} and worker {} on {} have other versions: {}"
        raise DeviceError(
            message.format(first["node"], rank, other["node"], "; ".join(differences)),
            "all nodes must run the same image and packages",
        )
