"""Faults of sweeps on the real SLURM: trials are cut, cancelled, killed late, left by their tasks."""

from __future__ import annotations

import json
import os
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hpcdl.launch.processes import processes_below
from tests.testbed.conftest import VENV, Bed, until
from tests.testbed.sweeps import JOB, prepare_job, send_sweep
from tests.testbed.test_sweeps import SPACE, training, workers

pytestmark = pytest.mark.testbed

# SLURM sees a limit of a minute, and a trial is asked to stop after some 8 s
SHORT = JOB.replace("00:05:00", "00:01:00").replace("--epochs, 6", "--epochs, 22")
CUT = ("--set", "cluster.stop_margin_s=52", "--set", "cluster.signal_lead_s=1")


def attempts(trial: Path, event: str = "end") -> list[dict[str, object]]:
    """The starts or the ends of a trial's attempts."""
    lines = []
    if (trial / "attempts.jsonl").exists():
        lines = (trial / "attempts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["event"] == event]


def epochs(trial: Path) -> int:
    metrics = trial / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def test_cut_trials_go_on_without_requeue(bed: Bed) -> None:
    """The last trial is cut when all other tasks have found nothing to do."""
    prepare_job(bed, SHORT)
    no_requeue = ("--set", "cluster.requeue=false", "--set", "cluster.max_requeues=4")
    sweep = send_sweep(bed, *SPACE, "--trials", "3", "--at-once", "2", *CUT, *no_requeue)
    sweep.run_to_end()

    sweep.account(trials=3, epochs=22)
    assert len(sweep.job_ids) == 5
    for trial in sweep.trials():
        assert len({row["job_id"] for row in attempts(trial)}) > 1


def test_late_task_is_run_again(bed: Bed) -> None:
    """With trials_per_task, too, and if SLURM's warning comes as soon as the task is back."""
    prepare_job(bed, SHORT)
    per_task = ("--set", "sweep.trials_per_task=2")
    sweep = send_sweep(bed, *SPACE, "--trials", "2", "--at-once", "1", *CUT, *per_task)
    until(lambda: training(sweep))
    task = f"{sweep.job_id}_0"
    bed.run("scontrol", "requeue", task)
    until(lambda: sweep.tasks()[task][1] == "BeginTime")
    (sweep.path / f"stop.{task}").touch()  # the script removes it before the worker starts
    time.sleep(3)  # its node is done with the first start
    sweep.start_now(task)
    until(lambda: workers(sweep))
    bed.run("scancel", "--signal=USR2", "--batch", task)
    sweep.run_to_end()

    sweep.account(trials=2, epochs=22)


def test_stopped_sweep_goes_on_with_more(bed: Bed) -> None:
    """One trial is cancelled, and a worker is killed right after its trial's result."""
    prepare_job(bed, JOB.replace("--epochs, 6", "--epochs, 6, --held, 3"))
    sweep = send_sweep(bed, *SPACE, "--trials", "5", "--at-once", "3")
    until(lambda: len(training(sweep)) == 3)
    cancelled, killed = sweep.trials()[1:3]
    cancel = "import sys, hpcdl; hpcdl.Run(sys.argv[1]).cancel()"
    bed.run(VENV / "python", "-c", cancel, cancelled)
    worker = int(str(attempts(killed, "start")[0]["pid"]))
    sweep.release()
    deadline = time.monotonic() + 60
    while not (killed / "result.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(worker, signal.SIGKILL)
    bed.run("hpcdl", "sweep", "stop", sweep.path)
    until(lambda: not training(sweep))
    bed.run("hpcdl", "sweep", "more", sweep.path, "--trials", "1")
    sweep.run_to_end()

    ends = sweep.ends()
    assert sorted(ends) == list(range(6))
    assert [end["state"] for end in ends.values()].count("done") == 5
    assert ends[1]["state"] == "failed"
    result = json.loads((cancelled / "result.json").read_text())
    assert result["cause"] == "cancelled"
    assert result["seconds"] > 0
    assert result["epochs"] == epochs(cancelled)


def test_killed_slots_go_on(bed: Bed) -> None:
    """The process that started two slots is killed, then one of the slots."""
    prepare_job(bed, JOB.replace("--epochs, 6", "--epochs, 8, --held, 4"))
    slots = ("--trials-per-gpu", "2")
    sweep = send_sweep(bed, *SPACE, "--trials", "6", "--at-once", "4", *slots)
    until(lambda: len(training(sweep)) == 4)
    of_slots = {int(str(attempts(trial, "start")[0]["pid"])) for trial in sweep.trials()}
    parents = sorted(set(workers(sweep)) - of_slots)
    os.kill(parents[0], signal.SIGKILL)
    children = of_slots & set(processes_below(parents[1]))
    os.kill(min(children), signal.SIGKILL)
    sweep.release()
    sweep.run_to_end()

    sweep.account(trials=6, epochs=8)


def test_missing_metric_stops_short_tasks(bed: Bed) -> None:
    """Three trials in a row stop the sweep, whichever tasks ran them."""
    prepare_job(bed, JOB.replace("--epochs, 6", "--epochs, 1"))
    options = ["--trials", "12", "--at-once", "2", "--set", "sweep.trials_per_task=1"]
    sweep = send_sweep(bed, *SPACE, *options, "--metric", "nothing")
    sweep.run_to_end()

    assert 3 <= len(sweep.trials()) <= 5
    assert "3 trials in a row" in (sweep.path / "stop").read_text()


def test_interrupted_trial_trains_exactly(bed: Bed) -> None:
    """SLURM's warning, then a killed program: weights and predictions equal those without."""
    data = bed.folder / "data"
    bed.run("hpcdl", "data", "stage", "digits", "--data-root", data)
    options = ["--over", "train.optimizer.learning_rate=0.001..0.01", "--trials", "1"]
    options += ["--metric", "accuracy"]
    options += ["--set", f"cluster.data_root={data}", "--set", "sweep.trials_per_task=1"]
    options += ["--set", "model.filters=[8, 16]", "--set", "train.batch_size=64"]
    whole = send_sweep(bed, *options, job="digits_cnn")
    sweep = send_sweep(bed, *options, job="digits_cnn")
    task = f"{sweep.job_id}_0"
    trial = sweep.path / "trials/00000"
    until(lambda: epochs(trial) >= 2)
    bed.run("scancel", "--signal=USR2", "--batch", task)
    until(lambda: sweep.tasks()[task][1] == "BeginTime")
    before = epochs(trial)
    time.sleep(3)
    sweep.start_now(task)
    until(lambda: epochs(trial) > before)
    os.kill(list(processes_below(workers(sweep)[0]))[-1], signal.SIGKILL)
    sweep.run_to_end()
    whole.run_to_end()

    assert [row["reason"] for row in attempts(trial)] == ["preempted", "killed", "done"]
    other = whole.path / "trials/00000"
    assert_same(trial / "predictions.npz", other / "predictions.npz")
    assert weights(trial) == weights(other)


def weights(trial: Path) -> bytes:
    """The weights of a trial's model, as the file's bytes."""
    with zipfile.ZipFile(trial / "model/model.keras") as model:
        return model.read("model.weights.h5")


def assert_same(one: Path, other: Path) -> None:
    with np.load(one) as a, np.load(other) as b:
        assert a.files == b.files
        for name in a.files:
            assert np.array_equal(a[name], b[name]), name
