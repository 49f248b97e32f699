"""The processes below a program, as /proc shows them, and ending them all."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from hpcdl.launch.processes import (
    handles,
    kill_leftover,
    kill_tree,
    processes_below,
    status_of_process,
)
from hpcdl.run.process_start import process_start

if not os.path.exists("/proc/self/status"):
    pytest.skip("there is no /proc here", allow_module_level=True)


@pytest.fixture
def program():
    """A program that has started another one."""
    argv = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def test_processes_below_are_parents_first(program):
    process, child = program

    assert list(processes_below(process.pid)) == [process.pid, child]


def test_tree_is_killed_whole(program):
    process, child = program

    kill_tree(process.pid)

    assert process.wait(60) == -signal.SIGKILL
    while process_start(child) is not None:  # a test that hangs has failed
        time.sleep(0.01)
    assert process_start(child) is None


def test_ended_process_is_nothing():
    process = subprocess.Popen(["/bin/true"])
    process.wait()

    assert status_of_process(process.pid) is None
    assert list(processes_below(process.pid)) == [process.pid]
    kill_tree(process.pid)


def test_handler_is_seen():
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with_handler = status_of_process(os.getpid())
    finally:
        signal.signal(signal.SIGUSR1, before)
    without = status_of_process(os.getpid())

    assert with_handler is not None
    assert without is not None
    assert handles(with_handler, signal.SIGUSR1)
    assert not handles(without, signal.SIGUSR1)


def test_leftover_is_of_one_run():
    """Another trial of a sweep may have the same argv, and so has another worker of this attempt."""
    program = ["/bin/sleep", "612.5"]
    processes = []
    for stop_file, attempt in (("/runs/1/stop", "2"), ("/runs/2/stop", "2"), ("/runs/1/stop", "3")):
        variables = {"HPCDL_STOP_FILE": stop_file, "HPCDL_ATTEMPT": attempt}
        processes.append(subprocess.Popen(program, env=variables))
    left, *others = processes
    try:
        kill_leftover(program, "/runs/1/stop", 3)

        assert left.wait(60) == -signal.SIGKILL
        assert [other.poll() for other in others] == [None, None]
    finally:
        for process in processes:
            process.kill()
            process.wait()
