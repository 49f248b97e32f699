"""Run folders written by hand: a training or a script, done, failed or under way, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

START = 1_764_300_000.0  # 2025-11-28 03:20:00 UTC
JOB: dict[str, Any] = {
    "name": "a",
    "resources": {"gpus": 0, "nodes": 1, "time": "00:05:00"},
    "container": "tensorflow",
    "data": {"name": "digits", "validation_split": 0.1, "image_size": None},
    "model": {"name": "cnn", "filters": [32, 64], "l2": 0.0, "output": "softmax"},
    "train": {"epochs": 3, "seed": 1, "label_smoothing": 0.0, "balance": "none"},
}
DATA = {
    "path": "/data/digits.npz",
    "rows_train": 80,
    "rows_validation": 10,
    "rows_test": 20,
    "image_shape": [8, 8, 1],
    "classes": 4,
    "class_names": None,
}
VERSIONS = {
    "hpcdl": "0.1.0",
    "python": "3.11.1",
    "tensorflow": "2.21.0",
    "keras": "3.9.0",
    "numpy": "2.0.1",
}
DEVICES = {"strategy": "default", "replicas": 1, "names": ["CPU:0"], "emulated": False}


def predictions(rows: int = 20, classes: int = 4, seed: int = 1) -> dict[str, Any]:
    """Labels and probabilities of a model that is right more often than not."""
    chance = np.random.default_rng(seed)
    labels = (np.arange(rows) % classes).astype(np.int32)
    scores = chance.normal(size=(rows, classes)) + 2.0 * np.eye(classes)[labels]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return {"labels": labels, "probabilities": shares.astype(np.float32)}


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def base(root: Path, job: dict[str, Any], result: dict[str, Any] | None, **plan: Any) -> Path:
    """What every run has; without a result it is under way elsewhere."""
    folder: Path = root / job["name"] / "20251128-0320-aaaa"
    (folder / "logs").mkdir(parents=True)
    (folder / "user").mkdir()
    (folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
    whole_plan = {
        "name": job["name"],
        "gpus": 0,
        "cpus": 2,
        "cluster": "testbed",
        "env": job.get("env", {}),
        **plan,
    }
    start = {"event": "start", "attempt": 1, "node": "n1", "job_id": "7", "time": START + 60}
    end = {
        **start,
        "event": "end",
        "reason": "done",
        "seconds": 120.5,
        "steps": 300,
        "from_step": 0,
    }
    files = {
        "plan.json": whole_plan,
        "manifest.json": {"command_line": ["hpcdl", "submit", "a.yaml"], "data": None},
        "submitted.json": {
            "backend": "slurm",
            "job_id": "7",
            "job_ids": ["7"],
            "time": START,
            "host": "login",
        },
    }
    if result is not None:
        files["result.json"] = {"name": job["name"], "state": "done", "cause": None, **result}
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    ended = [{**end, "time": START + 180.5}] if result is not None else []
    write_lines(folder / "attempts.jsonl", [start, *ended])
    return folder


def training(
    root: Path, name: str = "a", settings: dict[str, Any] | None = None, **sections: Any
) -> Path:
    """A training that is done.

    Args:
        settings: of the job by section, on top of `JOB`.
        sections: of result.json, on top of what is usual; state, too.
    """
    job = {**JOB, "name": name}
    for section, values in (settings or {}).items():
        job[section] = {**job.get(section, {}), **values}
    result: dict[str, Any] = {
        "model": {"name": "cnn", "parameters": 1000, "trainable_parameters": 1000, "depth": 3},
        "test": {"accuracy": 0.9, "loss": 0.3, "rows": 20},
        "validation": {"accuracy": 0.85, "loss": 0.4, "rows": 10},
        "best": None,
        "epochs_run": 3,
        "timing": {"per_epoch_s": 1.5, "images_per_s": 53.3, "train_s": 4.5},
        "devices": DEVICES,
        "data": DATA,
        "versions": VERSIONS,
        "cluster": {"name": "testbed", "backend": "slurm"},
        "seed": job["train"]["seed"],
    }
    for section, values in sections.items():
        is_section = isinstance(values, dict) and isinstance(result.get(section), dict)
        result[section] = {**result[section], **values} if is_section else values
    folder = base(root, job, result)
    lines = []
    for n, loss in enumerate((1.0, 0.6, 0.5), 1):
        line = {
            "epoch": n,
            "steps": 100,
            "seconds": 1.5,
            "images_per_s": 53.3,
            "loss": loss,
            "accuracy": 0.5 + n / 10,
        }
        lines.append(
            {**line, "val_loss": loss + 0.1, "val_accuracy": 0.55 + n / 10, "time": START + 60 + n}
        )
    write_lines(folder / "metrics.jsonl", lines)
    np.savez(folder / "predictions.npz", **predictions())
    return folder


def script(
    root: Path,
    name: str = "s",
    lines: list[dict[str, Any]] | None = None,
    log: str = "",
    **job: Any,
) -> Path:
    """A script that is done.

    Args:
        lines: what it wrote to metrics.jsonl.
        log: what it printed.
        job: of its job file.
    """
    whole = {
        "name": name,
        "resources": JOB["resources"],
        "container": "tensorflow",
        "script": "t.py",
        **job,
    }
    folder = base(
        root, whole, {"script": {"file": "t.py", "args": whole.get("args", [])}}, script="t.py"
    )
    (folder / "user" / "t.py").write_text("print('hello')\n")
    (folder / "logs" / "1.log").write_text(log)
    if lines is not None:
        write_lines(folder / "metrics.jsonl", lines)
    return folder
