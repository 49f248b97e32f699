"""Starts the workers of one run on this machine, without SLURM: what the tests of several workers share."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from hpcdl.contract.workers import to_tf_config
from tests.trainer.conftest import REPOSITORY, RunFolder, ended
from tests.trainer.forks import Fork, Forks

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


def fork_workers(
    forks: Forks, folder: Path, count: int, of_one: dict[int, dict[str, str]] | None = None
) -> list[RunFolder]:
    """Run one attempt with some workers to its end, which need not import TensorFlow.

    Args:
        forks: that import what the trainer does.
        folder: the run folder.
        count: of workers.
        of_one: variables of one worker alone, by its rank.

    Returns:
        by rank: the worker's own folder, its exit status and what it printed.
    """
    held = held_ports(count)
    workers = []
    for rank, variables in enumerate(_variables(held, of_one or {})):
        logs = folder.with_name(f"{folder.name}.{rank}")
        workers.append(Fork([str(folder / "run.json")], logs, [str(folder)], variables))
    statuses = forks.run(*workers)
    for each in held:
        each.close()
    found = []
    for rank, (worker, status) in enumerate(zip(workers, statuses, strict=True)):
        found.append(ended(RunFolder(_own(folder, rank)), worker, status))
    return found


def run_workers(
    argv: list[str],
    folder: Path,
    count: int,
    *,
    of_one: dict[int, dict[str, str]] | None = None,
    argv_of_last: list[str] | None = None,
) -> list[RunFolder]:
    """Run one attempt with some workers to its end, each in a new Python.

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
    processes = []
    for rank, variables in enumerate(_variables(held, of_one or {})):
        path = os.pathsep.join([str(REPOSITORY), str(folder)])
        is_last = rank == count - 1
        start = argv_of_last if argv_of_last is not None and is_last else argv
        process = subprocess.Popen(
            [*start, str(folder / "run.json")],
            env={**os.environ, "PYTHONPATH": path, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
    found = []
    for rank, process in enumerate(processes):
        try:
            stdout, stderr = process.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
        found.append(RunFolder(_own(folder, rank), process.returncode, stdout, stderr))
    for each in held:
        each.close()
    return found


def _variables(
    held: list[socket.socket], of_one: dict[int, dict[str, str]]
) -> list[dict[str, str]]:
    """Each worker's variables, by rank."""
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
    variables = []
    for rank in range(len(held)):
        own = {
            "TF_CONFIG": to_tf_config(addresses, rank),
            "TF_GRPC_REUSE_PORT": "1",
            "no_grpc_proxy": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }
        variables.append({**own, **of_one.get(rank, {})})
    return variables


def _own(folder: Path, rank: int) -> Path:
    """The folder of a worker."""
    return folder / "workers" / str(rank) if rank else folder
