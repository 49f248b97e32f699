"""Starts the workers of one run on this machine, without SLURM: what the tests of several workers share."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from hpcdl.contract.workers import to_tf_config
from tests.trainer.conftest import REPOSITORY, RunFolder

_LIMIT_S = 240


def held_ports(count: int) -> list[socket.socket]:
    """Sockets on free ports, which nobody else gets while they are open; TensorFlow may share them."""
    sockets = []
    for _ in range(count):
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        sockets.append(held)
    return sockets


def run_workers(
    argv: list[str],
    folder: Path,
    count: int,
    *,
    of_one: dict[int, dict[str, str]] | None = None,
    argv_of_last: list[str] | None = None,
) -> list[RunFolder]:
    """Run one attempt with some workers to its end.

    Args:
        argv: the start of the trainer's command line.
        folder: the run folder.
        count: of workers.
        of_one: variables of one worker alone, by its rank.
        argv_of_last: the start of the last worker's command line, if it is another one.

    Returns:
        by rank: the worker's own folder, its exit status and what it printed.
    """
    held = held_ports(count)
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
    processes = []
    for rank in range(count):
        variables = {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(folder)]),
            "TF_CONFIG": to_tf_config(addresses, rank),
            "TF_GRPC_REUSE_PORT": "1",
            "no_grpc_proxy": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            **(of_one or {}).get(rank, {}),
        }
        is_last = rank == count - 1
        start = argv_of_last if argv_of_last is not None and is_last else argv
        process = subprocess.Popen(
            [*start, str(folder / "run.json")],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
    ended = []
    for rank, process in enumerate(processes):
        try:
            stdout, stderr = process.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
        own = folder / "workers" / str(rank) if rank else folder
        ended.append(RunFolder(own, process.returncode, stdout, stderr))
    for each in held:
        each.close()
    return ended
