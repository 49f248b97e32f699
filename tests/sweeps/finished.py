"""A sweep folder as its tasks leave it, without any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpcdl.files import append_json_line, write_json
from hpcdl.job import load_job
from hpcdl.job.text import job_text
from hpcdl.sweeps.checks import check_sweep
from hpcdl.sweeps.events import Claimed, Ended, append_event
from hpcdl.sweeps.folder import SweepPaths

SETS = (
    "data.validation_split=0.2",
    "sweep.over.model.filters=[[8], [8, 16]]",
    "sweep.over.train.optimizer.learning_rate=log:1e-4..0.1",
    "sweep.over.train.batch_size=int:8..64",
    "sweep.trials=6",
)
STARTED = 1_790_000_000.0


def make_sweep(root: Path, name: str = "digits_cnn", sets: tuple[str, ...] = SETS) -> SweepPaths:
    """The folder of a sweep that has just been sent."""
    paths = SweepPaths(root)
    paths.root.mkdir(parents=True)
    for folder in (paths.tasks, paths.claims, paths.open, paths.trials):
        folder.mkdir()
    job = load_job(name, list(sets))
    check_sweep(job).write(paths)
    paths.run.job.write_text(job_text(job))
    write_json(paths.run.manifest, {})
    write_json(paths.run.plan, {})
    return paths


def claim(paths: SweepPaths, number: int, params: dict[str, Any], task: str = "7_0") -> None:
    """A task has taken a trial."""
    paths.claim(number).symlink_to(task)
    paths.trial(number).mkdir()
    trial = {"number": number, "params": params, "task": task, "turn": 1}
    write_json(paths.trial_file(number), trial)
    append_event(paths.task_log(task), Claimed(number, params, task, 1, STARTED + number))


def train(
    paths: SweepPaths, number: int, values: list[float], metric: str = "val_accuracy"
) -> None:
    """A trial has trained some epochs."""
    trial = paths.trial_run(number)
    trial.spec.write_text("{}")
    for epoch, value in enumerate(values, start=1):
        append_json_line(trial.metrics, {"epoch": epoch, "loss": 1.0, metric: value})


def end(
    paths: SweepPaths, number: int, value: float | None, state: Any = "done", task: str = "7_0"
) -> None:
    """A trial has ended."""
    params = json.loads(paths.trial_file(number).read_text())["params"]
    epoch = None if value is None else 2
    result = {"state": state, "value": value, "epoch": epoch, "epochs": 3, "seconds": 12.5}
    write_json(paths.result(number), result)
    ended = Ended(number, state, value, epoch, 3, 12.5, params, task, 1, STARTED + 60)
    append_event(paths.task_log(task), ended)


def point(filters: list[int], rate: float, batch: int) -> dict[str, Any]:
    """The parameters of a trial."""
    return {
        "model.filters": filters,
        "train.optimizer.learning_rate": rate,
        "train.batch_size": batch,
    }


def make_finished(root: Path) -> SweepPaths:
    """Five trials: three done, of which 1 is the best, one pruned, one failed; and one that runs."""
    paths = make_sweep(root)
    for number, rate in enumerate([0.0001, 0.01, 0.05, 0.1, 0.001, 0.002]):
        claim(paths, number, point([8, 16] if number == 1 else [8], rate, 8 + number))
        if number < 4:
            train(paths, number, [0.5, 0.5 + number / 10, 0.4])
    for number, value in ((0, 0.5), (1, 0.9), (2, 0.7)):
        end(paths, number, value)
    end(paths, 3, 0.95, "pruned")
    end(paths, 4, None, "failed")
    return paths
