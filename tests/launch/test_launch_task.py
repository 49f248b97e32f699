"""A worker leaves a trial that another worker of its task has begun to run."""

from __future__ import annotations

import os
import socket

import pytest

from hpcdl.errors import RunError
from hpcdl.files import append_json_line
from hpcdl.launch.task import OtherWorker
from hpcdl.run.paths import TrialPaths


def start(trial: TrialPaths, attempt: int, pid: int, host: str) -> None:
    line = {"event": "start", "attempt": attempt, "pid": pid, "host": host, "node": "n2"}
    append_json_line(trial.attempts, line)


@pytest.mark.parametrize("is_same_host", [True, False])
def test_other_worker_ends_this_one(tmp_path, is_same_host):
    trial = TrialPaths(tmp_path)
    host = socket.gethostname()
    watcher = OtherWorker(trial)
    watcher.look(0.0, 1)  # no attempt has begun
    start(trial, 1, os.getpid(), host)
    watcher.look(1.0, 1)

    if is_same_host:
        start(trial, 2, os.getpid() + 1, host)
    else:
        start(trial, 2, os.getpid(), "another-node")
    with pytest.raises(RunError, match=r"runs trial .* on n2"):
        watcher.look(2.0, 1)
