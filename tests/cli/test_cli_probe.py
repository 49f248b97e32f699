"""`hpcdl check --probe`: a real probe of emulated GPUs on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpcdl.cli.probe import as_probe
from hpcdl.cluster import Cluster, Node
from hpcdl.contract.spec import MlpSpec, TrainSpec
from hpcdl.job import Job
from tests.launch.conftest import LocalRun, until


class Desk:
    """A folder with a job file of two emulated GPUs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        images, labels = rng.integers(0, 255, (40, 8, 8), np.uint8), np.arange(40) % 2
        arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
        np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]
        job = {
            "name": "two",
            "data": {"path": str(folder / "set.npz")},
            "model": {"name": "mlp"},
            "resources": {"gpus": 2},
            "cluster": {"emulate_gpus": True, "data_root": str(folder)},
        }
        (folder / "job.yaml").write_text(json.dumps(job))
        (folder / "a.py").write_text("")

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "hpcdl", "check", *words, "--probe", "--backend", "local"]
        return subprocess.Popen(
            [*argv, "--runs-dir", "runs"],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self) -> LocalRun:
        return LocalRun(until(lambda: [*self.folder.glob("runs/*/*/submitted.json")])[0].parent)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.tensorflow
def test_probe_adds_up_on_each_device(desk):
    process = desk.start("job.yaml", "--json")
    stdout, stderr = process.communicate(timeout=300)

    assert process.returncode == 0, stderr
    answer = json.loads(stdout)
    (node,) = answer["nodes"]
    assert (answer["state"], node["replicas"]) == ("done", 2)
    assert node["devices"] == ["CPU:0 emulated", "CPU:1 emulated"]
    assert node["all_reduce_s"] > 0
    assert node["again_s"] > 0
    assert "tensorflow" in node["versions"]
    run = desk.run()
    assert run.path.parent.name == "two-probe"
    assert not (run.path / "metrics.jsonl").exists()


@pytest.mark.tensorflow
def test_failed_probe_says_why(desk):
    job = json.loads((desk.folder / "job.yaml").read_text())
    job["env"] = {"HPCDL_ALL_REDUCE_S": "0.0001"}
    (desk.folder / "job.yaml").write_text(json.dumps(job))

    process = desk.start("job.yaml")
    stdout, stderr = process.communicate(timeout=300)

    assert (process.returncode, stdout) == (1, "")
    assert "an all-reduce over 2 replicas (CPU:0 emulated, CPU:1 emulated) does not end" in stderr


@pytest.mark.tensorflow
def test_interrupted_probe_is_cancelled(desk):
    process = desk.start("job.yaml")
    run = desk.run()
    until(lambda: (run.path / "heartbeat.json").exists())
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "the probe is cancelled" in stderr
    assert (run.path / "cancelled").exists()


def test_script_cannot_be_probed(desk):
    process = desk.start("a.py")
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "a.py has no model; --probe expects a job that trains one" in stderr


def test_margin_of_the_profile_fits():
    """A profile may keep more time free for saving than a probe has."""
    cluster = Cluster(name="site", node=Node(), stop_margin_s=600)
    job, of_probe = as_probe(Job(name="a", model=MlpSpec(), train=TrainSpec()), cluster)

    assert of_probe.stop_margin_s < job.resources.time_limit_s
