"""Watchers of a running program: when it is killed, and when its folder is known to be gone."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from hpcdl.launch.deadline import Deadline
from hpcdl.launch.retry import SURE_AFTER, RunRemovedError
from hpcdl.launch.watchers import KillWatcher, RemovedWatcher
from hpcdl.run.paths import RunPaths


@pytest.fixture
def program():
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield process
        process.kill()


def test_cancelled_program_killed_after_grace(tmp_path, program):
    paths = RunPaths(tmp_path)
    watcher = KillWatcher(paths, Deadline(paths, None, 60.0))
    paths.cancelled.touch()
    os.utime(paths.cancelled, (1000.0, 1000.0))

    watcher.look(1045.0, program.pid)
    assert program.poll() is None
    watcher.look(1046.0, program.pid)
    assert program.wait(60) == -signal.SIGKILL


def test_program_in_overtime_is_killed(tmp_path, program):
    paths = RunPaths(tmp_path)
    deadline = Deadline(paths, 1000.0, 60.0, kills=True)
    watcher = KillWatcher(paths, deadline)

    watcher.look(2000.0, program.pid)
    assert program.poll() is None
    deadline.look(2000.0, program.pid)
    watcher.look(2000.0, program.pid)
    assert program.wait(60) == -signal.SIGKILL


def test_removed_folder_is_looked_for_again(tmp_path):
    """A network file system may lose a folder for a moment."""
    (tmp_path / ".code").mkdir()
    paths = RunPaths(tmp_path / "job" / "run")
    watcher = RemovedWatcher(paths)
    for _ in range(SURE_AFTER - 1):
        watcher.look(0.0, 0)
    paths.root.mkdir(parents=True)
    watcher.look(0.0, 0)
    paths.root.rmdir()

    for _ in range(SURE_AFTER - 1):
        watcher.look(0.0, 0)
    with pytest.raises(RunRemovedError, match="was removed"):
        watcher.look(0.0, 0)
