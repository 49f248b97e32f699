"""A task's trials through one fork server, and what makes a trial need a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.job import load_job
from hpcdl.launch import served
from hpcdl.launch.command import places_of
from hpcdl.launch.fork_server import ForkServer
from hpcdl.launch.served_trainer import NotServedError
from hpcdl.planning import plan
from hpcdl.run.paths import TrialPaths
from hpcdl.submission.locate import run_spec

JOB = """\
name: tune
resources: {gpus: 0, cpus: 1, time: "00:10:00"}
data: {path: data.npz}
model: {name: mlp, dense: [8]}
train: {epochs: 2, batch_size: 20}
"""
SWEEP = """\
sweep:
  over: {train.optimizer.learning_rate: [0.001, 0.003]}
  method: grid
  metric: accuracy
"""


class Recorded:
    """Stands for the server where only its command and its requests matter: an import is slow."""

    def __init__(self, argv, env, workdir, log):
        self.argv, self.env, self.workdir = argv, env, workdir
        self.requests = []

    def start(self, *request):
        self.requests.append(request)
        return "trainer"

    def close(self):
        pass


@pytest.fixture
def sweep(tmp_path):
    """A sweep's folder with a job in a container, and its first trial."""
    (tmp_path / "data").mkdir()
    (tmp_path / "job.yaml").write_text(JOB)
    image = {"tensorflow": Image(f"{tmp_path}/image.sif")}
    site = Cluster(
        name="site", node=Node(cpus=4, gpus=2), images=image, data_root=f"{tmp_path}/data"
    )
    job = load_job(tmp_path / "job.yaml", [])
    spec = run_spec(job, site)
    assert spec is not None
    folder = tmp_path / "sweep"
    for number in (0, 1):
        trial = folder / "trials" / f"{number:05}"
        trial.mkdir(parents=True)
        (trial / "run.json").write_text(spec.to_json())
    return folder, plan(job, site)


@pytest.fixture
def start(sweep, monkeypatch):
    """Starts a trial; `changes` are those of its places."""
    folder, trials_plan = sweep
    monkeypatch.setattr(served, "ForkServer", Recorded)
    trials = served.ServedTrials(trials_plan, folder, in_slurm=True)

    def of(number, attempt=1, **changes):
        paths = TrialPaths(folder / "trials" / f"{number:05}")
        tmp = trials.tmp / f"tmp-{number}"
        places = places_of(paths, trials_plan, str(attempt), str(tmp))
        started = trials.start(paths, attempt, replace(places, **changes))
        return started, trials._server

    yield of
    trials.close()


def test_trials_differ_in_their_own_variables(start, sweep):
    """Each has its stop file, attempt and temporary folder; the server's container shows all."""
    folder, _ = sweep
    start(0)
    started, server = start(1, attempt=2)

    assert started == "trainer"
    trial = folder / "trials" / "00001"
    run_json, log, environment, workdir = server.requests[1]
    assert (run_json, log, workdir) == (str(trial / "run.json"), trial / "2.log", str(trial))
    assert environment == {
        "HPCDL_ATTEMPT": "2",
        "HPCDL_STOP_FILE": str(trial / "stop"),
        "TMPDIR": "/tmp/tmp-1",  # noqa: S108 - in the container
    }
    words = " ".join(server.argv)
    assert words.endswith("python -m hpcdl.trainer --serve")
    assert f"--bind {folder} " in words
    assert "HPCDL_LIFELINE" not in words


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"visible_devices": "1"}, "the variable CUDA_VISIBLE_DEVICES is not the server's"),
        ({"pythonpath": "/other"}, "the variable PYTHONPATH is not the server's"),
        ({"binds": ["/other:/other:ro"]}, "the server's container has no bind /other:/other:ro"),
        ({"tmp": "/other"}, "the server does not see /other"),
    ],
)
def test_unlike_trial_gets_fresh_process(start, capfd, changes, reason):
    start(0)

    started, _ = start(1, **changes)
    start(1, **changes)

    assert started is None
    line = f"fork server: not for this trial, which gets a fresh process: {reason}\n"
    assert capfd.readouterr().out == line


def test_served_unless_on_gpus(sweep):
    folder, trials_plan = sweep
    on_gpus = replace(trials_plan, size=replace(trials_plan.size, gpus=1))

    def is_served(a_plan, setting):
        trials = served.served_trials(a_plan, folder, True, setting)
        if trials is not None:
            trials.close()
        return trials is not None

    assert [is_served(trials_plan, setting) for setting in (None, False)] == [True, False]
    assert [is_served(on_gpus, setting) for setting in (None, True)] == [False, True]


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([sys.executable, "-c", "raise SystemExit('no such module')"], "exit status 1: no such mo"),
        (["/nowhere/apptainer"], "No such file or directory"),
        ([sys.executable, "-c", "print('{}'); print('INFO')"], "exit status 0"),
    ],
    ids=["import", "command", "words"],
)
def test_failing_server_is_given_up(tmp_path, capfd, argv, reason):
    server = ForkServer(argv, {}, str(tmp_path), tmp_path / "server.log")
    for _ in range(2):
        with pytest.raises(NotServedError, match=reason):
            server.start("run.json", tmp_path / "1.log", {}, str(tmp_path))

    assert not server.is_usable
    with pytest.raises(NotServedError, match="failed too often"):
        server.start("run.json", tmp_path / "1.log", {}, str(tmp_path))
    output = capfd.readouterr().out
    assert output.count("the fork server failed") == 2
    assert "from here on each trainer imports TensorFlow itself" in output


@pytest.mark.tensorflow
def test_sweep_imports_tensorflow_once(tmp_path):
    """The trials of a task are bit for bit those of a task without the server."""
    random = np.random.default_rng(1)
    images = random.integers(0, 255, (60, 8, 8)).astype(np.uint8)
    labels = (np.arange(60) % 3).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    once = sweep_of(tmp_path, "once", "true")
    each = sweep_of(tmp_path, "each", "false")

    line = "fork server: TensorFlow imported once"
    assert (task_log_of(once).count(line), task_log_of(each).count(line)) == (1, 0)
    for trial in sorted((once / "trials").iterdir()):
        fresh = each / "trials" / trial.name
        assert losses_of(trial) == losses_of(fresh)
        found, expected = predictions_of(trial), predictions_of(fresh)
        assert found.keys() == expected.keys()
        for key, array in found.items():
            np.testing.assert_array_equal(array, expected[key])


def sweep_of(folder, name, fork_server):
    """Run a sweep of two trials on this machine; gives its folder."""
    job = folder / f"{name}.yaml"
    job.write_text(f"{JOB}{SWEEP}  fork_server: {fork_server}\n")
    argv = [sys.executable, "-m", "hpcdl", "sweep", str(job), "--backend", "local", "--wait"]
    argv += ["--runs-dir", str(folder / name), "--set", f"cluster.data_root={folder}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def losses_of(trial):
    lines = (trial / "metrics.jsonl").read_text().splitlines()
    return [(line["loss"], line["accuracy"]) for line in map(json.loads, lines)]


def predictions_of(trial):
    with np.load(trial / "predictions.npz") as archive:
        return {key: archive[key] for key in archive.files}


def task_log_of(sweep):
    (log,) = (sweep / "logs").iterdir()
    return log.read_text()
