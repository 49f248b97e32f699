"""Where the workers of a run on several nodes are, from its files, and their logs."""

from __future__ import annotations

import json

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.run.paths import RunPaths
from hpcdl.run.worker_paths import WorkerPaths
from hpcdl.run.worker_states import worker_states

NOW = 1.8e9


@pytest.fixture
def run(tmp_path):
    paths = RunPaths(tmp_path / "runs/a/20260101-1200-aaaa")
    for rank in (0, 1):
        WorkerPaths(paths.root, rank).logs.mkdir(parents=True)
    write_json(paths.manifest, {"created": NOW})
    write_json(paths.plan, {})
    return paths


def attempt(run, number, *nodes):
    event = {"event": "start", "attempt": number, "job_id": "7", "node": "n1", "time": NOW + number}
    append_json_line(run.attempts, {**event, "nodes": list(nodes)})


def heartbeat(run, rank, time, **keys):
    write_json(WorkerPaths(run.root, rank).heartbeat, {"phase": "training", "time": time, **keys})


def test_each_worker_has_a_line(run):
    """What an earlier attempt wrote is not shown."""
    attempt(run, 1, "n1", "n2")
    attempt(run, 2, "n3", "n4")
    heartbeat(run, 0, NOW - 60, attempt=2, epoch=2, step=30)  # its clock is late
    heartbeat(run, 1, NOW + 60, attempt=1, epoch=9, step=99)

    first, second = worker_states(run, is_running=True)

    assert first.text() == "worker 0 on n3: training, epoch 2, step 30"
    assert second.text() == f"worker 1 on n4: {run.root}/workers/1/logs/2.log"
    assert worker_states(run, is_running=False)[0].phase is None


def test_one_worker_has_none(run):
    """As of a job that asked for one node, or of a range and got one."""
    assert worker_states(run, is_running=True) == []
    attempt(run, 1, "n1", "n2")
    attempt(run, 2, "n1")
    assert worker_states(run, is_running=True) == []


def test_commands_name_each_worker(run, cli):
    attempt(run, 1, "n1", "n2")
    run.log(1).write_text("of worker 0\n")
    WorkerPaths(run.root, 1).log(1).write_text("of worker 1\n")

    status = cli("status", run.root)
    as_json = json.loads(cli("status", run.root, "--json").out)

    assert "worker 1 on n2: " in status.out
    assert [worker["node"] for worker in as_json[0]["workers"]] == ["n1", "n2"]
    assert cli("logs", run.root).out == "of worker 0\n"
    assert cli("logs", run.root, "--worker", "1").out == "of worker 1\n"
    wrong = cli("logs", run.root, "--worker", "2")
    assert wrong.code == 2
    assert "--worker 2" in wrong.err
    assert "expected 0 to 1" in wrong.err
