"""The shipped sweeps on real SLURM and real images, with 2,000 images of MNIST: the best trial beats the default."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.testbed.conftest import SCRATCH, Bed, new_bed
from tests.testbed.sweeps import send_sweep

pytestmark = pytest.mark.testbed

JOBS = {"tensorflow-grid": "sweep_grid", "tf2.11-grid": "sweep_grid", "tensorflow-bayes": "sweep_bayes", "tf2.11-bayes": "sweep_bayes"}


@pytest.fixture(scope="module")
def small_mnist(cluster: None) -> Bed:
    """A folder with the first 2,000 training images of MNIST, and 500 test images."""
    bed = new_bed("test-sweep-hand")
    with np.load(SCRATCH / "data/mnist.npz") as data:
        arrays = {
            "x_train": data["x_train"][:2000],
            "y_train": data["y_train"][:2000],
            "x_test": data["x_test"][:500],
            "y_test": data["y_test"][:500],
        }
    np.savez(bed.folder / "mnist2000.npz", **arrays)
    shutil.chown(bed.folder / "mnist2000.npz", "hpcuser")
    return bed


@pytest.mark.parametrize("image", JOBS)
def test_best_trial_beats_default(small_mnist: Bed, image: str) -> None:
    options = (
        "--set",
        f"container={image.split("-")[0]}",
        "--set",
        f"data.path={small_mnist.folder}/mnist2000.npz",
    )
    default = small_mnist.submit(JOBS[image], *options)
    sweep = send_sweep(small_mnist, *options, "--trials", 8, "--at-once", 2, job=JOBS[image])
    default.wait()
    done = small_mnist.run("hpcdl", "wait", sweep.path, check=False)
    best = small_mnist.run("hpcdl", "sweep", "best", sweep.path).stdout

    own = max(row["val_accuracy"] for row in default.lines("metrics.jsonl"))
    ends = sweep.ends()
    assert done.returncode == 0, done.stderr
    assert len(ends) == 8
    assert max(end["value"] for end in ends.values() if end["state"] == "done") > own
    assert str(sweep.path) in best
    keys = {"train.optimizer.learning_rate", "train.batch_size", "model.filters", "model.dropout"}
    assert all(set(end["params"]) == keys for end in ends.values())
    models = list(Path(sweep.path, "trials").glob("*/model"))
    assert 1 <= len(models) <= 8
    for trial in sweep.trials():
        files = [trial, *trial.rglob("*"), sweep.path / "claims" / trial.name]
        assert len(files) <= 12, files
