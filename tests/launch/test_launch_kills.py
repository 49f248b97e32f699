"""Real trainings on this machine, killed and resumed: nothing is lost, and the weights are those of a whole run."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from hpcdl.run.state import process_start
from tests.launch.conftest import LocalRun

pytestmark = pytest.mark.tensorflow

JOB = """
name: kills
resources: {gpus: 0}
data: {path: data.npz}
model: {name: cnn, filters: [4], dropout: 0.3}
train: {epochs: 20, batch_size: 10, optimizer: adam}
"""
SAVING = ("--set", "cluster.save_every_steps=50")


@pytest.fixture
def trained(machine):
    """The job's folder, and a run of it that nothing interrupts."""
    random_rows = np.random.default_rng(1)
    x = random_rows.integers(0, 256, (2000, 12, 12), np.uint8)
    y = (x[:, :6].mean((1, 2)) > x[:, 6:].mean((1, 2))).astype(np.uint8)
    np.savez(machine.folder / "data.npz", x_train=x[:1600], y_train=y[:1600], x_test=x[1600:], y_test=y[1600:])
    (machine.folder / "kills.yaml").write_text(JOB)
    return submit(machine)


def submit(machine):
    done = machine.hpcdl("submit", "kills.yaml", "--backend", "local", "--runs-dir", "runs", *SAVING)
    assert done.returncode == 0, done.stderr
    return LocalRun(Path(done.stdout.rstrip("\n")))


def weights(run) -> dict[str, np.ndarray]:
    newest = sorted((run.path / "checkpoints").glob("*.npz"))[-1]
    with np.load(newest) as archive:
        return {name: archive[name] for name in archive.files if name.startswith("v")}


def epochs(run) -> list[dict[str, object]]:
    return [{k: row[k] for k in ("epoch", "loss", "accuracy")} for row in run.lines("metrics.jsonl")]


def assert_same(run, whole) -> None:
    assert run.json("result.json")["test"] == whole.json("result.json")["test"]
    assert epochs(run) == epochs(whole)
    mine, theirs = weights(run), weights(whole)
    assert mine.keys() == theirs.keys()
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def training_beyond(run, step: int) -> None:
    beat = run.path / "heartbeat.json"
    run.until(lambda: beat.exists() and run.json("heartbeat.json").get("step", 0) > step)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_killed_trainer_goes_on_by_itself(machine, trained):
    assert machine.hpcdl("wait", trained.path).returncode == 0
    chance = random.Random(1)
    run = submit(machine)
    for kill in range(3):
        training_beyond(run, 100 + 500 * kill)
        time.sleep(chance.random() / 4)
        launcher = [row for row in run.lines("attempts.jsonl") if row["event"] == "start"][-1]["pid"]
        os.kill(children_of(launcher)[0], signal.SIGKILL)
        run.until(lambda: len(run.lines("attempts.jsonl")) >= 2 * kill + 3)  # noqa: B023 - called at once
    done = machine.hpcdl("wait", run.path)
    assert done.returncode == 0, done.stderr
    assert [a["reason"] for a in run.json("result.json")["attempts"]] == ["killed", "killed", "killed", "done"]
    assert_same(run, trained)


def test_killed_launcher_takes_the_trainer_along_and_is_resumed(machine, trained):
    assert machine.hpcdl("wait", trained.path).returncode == 0
    run = submit(machine)
    training_beyond(run, 60)
    launcher = run.lines("attempts.jsonl")[-1]["pid"]
    trainer = children_of(launcher)[0]
    os.kill(launcher, signal.SIGKILL)
    run.until(lambda: process_start(trainer) is None)
    lost = machine.hpcdl("wait", run.path)
    assert lost.returncode == 1
    assert "hpcdl resume" in lost.stderr
    resumed = machine.hpcdl("resume", run.path, "--wait")
    assert resumed.returncode == 0, resumed.stderr
    assert [a["reason"] for a in run.json("result.json")["attempts"]] == ["killed", "done"]
    assert_same(run, trained)


def test_done_run_is_not_resumed(machine, trained):
    assert machine.hpcdl("wait", trained.path).returncode == 0
    refused = machine.hpcdl("resume", trained.path)
    assert refused.returncode == 2
    assert "it is done" in refused.stderr
