"""A small real run of this machine, and copies of it to spoil: what the tests of pages share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

CLASSES = 3
JOB = {
    "name": "small",
    "resources": {"gpus": 0, "time": "00:05:00"},
    "data": {"path": "data.npz", "validation_split": 0.2},
    "model": {"name": "cnn", "filters": [4], "dense": [8]},
    "train": {"epochs": 4, "batch_size": 20, "optimizer": {"name": "adam", "learning_rate": 0.01}},
}
Submit = Callable[..., Path]


@pytest.fixture(scope="session")
def submit(tmp_path_factory: pytest.TempPathFactory) -> Submit:
    """Runs a job on this machine to its end, as a user would; gives its run folder."""
    folder = tmp_path_factory.mktemp("user")
    random = np.random.default_rng(1)
    arrays: dict[str, Any] = {}
    for part, rows in (("train", 240), ("test", 90)):
        labels = (np.arange(rows) % CLASSES).astype(np.uint8)
        images = random.integers(0, 200, (rows, 10, 10))
        for label in range(CLASSES):
            images[labels == label, 3 * label : 3 * label + 3] += 40
        arrays.update({f"x_{part}": images.astype(np.uint8), f"y_{part}": labels})
    np.savez(folder / "data.npz", **arrays)

    def run(job: dict[str, Any], script: str = "") -> Path:
        (folder / "broken.py").write_text(script)
        path = folder / f"{job['name']}.yaml"
        path.write_text(yaml.safe_dump(job))
        argv = ["submit", path.name, "--backend", "local", "--runs-dir", "runs", "--wait"]
        done = subprocess.run(
            [sys.executable, "-m", "hpcdl", *argv],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.stdout.startswith("/"), done.stderr
        return Path(done.stdout.splitlines()[0])

    return run


@pytest.fixture(scope="session")
def finished(submit: Submit) -> Path:
    """The folder of a small run that trained to its end."""
    return submit(JOB)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "small" / "20260101-1200-copy"))


def change(folder: Path, name: str, **sections: dict[str, Any]) -> None:
    """Change values in the sections of one of a run's JSON files."""
    value = json.loads((folder / name).read_text())
    for section, values in sections.items():
        value[section].update(values)
    (folder / name).write_text(json.dumps(value))
