"""Sweeps on the real SLURM: tasks are killed, requeued, warned, and each trial ends exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.testbed.conftest import Bed, until
from tests.testbed.sweeps import JOB, Sweep, prepare_job, send_sweep

pytestmark = pytest.mark.testbed

SPACE = ("--over", "args.rate=0.1..0.9", "--metric", "score", "-s", "sweep.direction=maximize")


def workers(sweep: Sweep) -> list[int]:
    """The processes of a sweep's workers."""
    argv = ["pgrep", "-f", f"hpcdl.launch.sweep_worker {sweep.path}"]
    text = subprocess.run(argv, capture_output=True, text=True).stdout
    return [int(pid) for pid in text.split()]


def worker_of(sweep: Sweep, task: str) -> int:
    """The process of a task's worker."""
    wanted = f"SLURM_ARRAY_TASK_ID={task}".encode()
    for pid in workers(sweep):
        if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return pid
    raise AssertionError(f"task {task} has no worker")


def training(sweep: Sweep) -> list[str]:
    """The trials that have begun to train and have not ended."""
    names = []
    for trial in sweep.trials():
        if (trial / "metrics.jsonl").exists() and not (trial / "result.json").exists():
            names.append(trial.name)
    return names


def test_every_trial_ends_once(bed: Bed) -> None:
    """A worker is killed, a task requeued from outside, and one warned."""
    prepare_job(bed, JOB.replace("--epochs, 6", "--epochs, 6, --held, 3"))
    options = ["--method", "asha", "--trials", "10", "--at-once", "3", "-s", "sweep.first=2"]
    sweep = send_sweep(bed, *SPACE, *options)
    until(lambda: len(training(sweep)) == 3)
    os.kill(worker_of(sweep, "0"), signal.SIGKILL)
    # Refused if the worker was this task's, and it is requeued already
    bed.run("scontrol", "requeue", f"{sweep.job_id}_1", check=False)
    bed.run("scancel", "--signal=USR2", "--batch", f"{sweep.job_id}_2")
    until(lambda: len(workers(sweep)) < 3)
    sweep.run_to_end()

    sweep.account(trials=10, epochs=6)
    restarted = [trial for trial in sweep.trials() if "resum" in (trial / "1.log").read_text()]
    attempts = []
    for trial in sweep.trials():
        lines = (trial / "attempts.jsonl").read_text().splitlines()
        attempts.append(sum(json.loads(line)["event"] == "start" for line in lines))
    assert min(attempts[:3]) > 1 and restarted == []


def test_requeue_takes_one_task(bed: Bed) -> None:
    """The task that starts last has the array's own id; its requeue leaves the others alone."""
    prepare_job(bed, JOB.replace("--epochs, 6", "--epochs, 30"))
    sweep = send_sweep(bed, *SPACE, "--trials", "3", "--at-once", "3")
    until(lambda: len(training(sweep)) == 3)
    argv = ["squeue", "--noheader", "--format=%i|%A", f"--jobs={sweep.job_id}"]
    rows = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    last = next(row.split("|")[0] for row in rows if row.endswith(f"|{sweep.job_id}"))
    bed.run("scancel", "--signal=USR2", "--batch", last)
    until(lambda: sweep.tasks().get(last, ("",))[0] == "PENDING")

    states = {task: state for task, (state, _, _) in sweep.tasks().items()}
    bed.run("scancel", sweep.job_id)
    assert sorted(states.values()) == ["PENDING", "RUNNING", "RUNNING"]


def test_cancelled_sweep_ends_everything(bed: Bed) -> None:
    prepare_job(bed, JOB.replace("--epochs, 6", "--epochs, 60"))
    sweep = send_sweep(bed, *SPACE, "--trials", "8", "--at-once", "2")
    until(lambda: len(training(sweep)) == 2)
    bed.run("hpcdl", "cancel", sweep.path)
    until(lambda: not sweep.tasks())

    assert len(sweep.trials()) == 2
    assert sweep.ends() == {}
