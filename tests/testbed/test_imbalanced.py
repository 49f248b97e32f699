"""A set that is unbalanced on purpose, from a function beside the job file, on the real SLURM in both images."""

from __future__ import annotations

import pytest

from tests.testbed.conftest import Bed

pytestmark = pytest.mark.testbed


@pytest.mark.parametrize("image", ["tensorflow", "tf2.11"])
def test_shipped_job_balances_its_classes(bed: Bed, image: str) -> None:
    keys = (
        f"container={image}",
        "train.balance=undersample",
        "train.epochs=20",
        "data.augment=[{rotate: 10}]",
    )
    run = bed.submit("imbalanced_mnist", *(word for key in keys for word in ("--set", key)))
    result = run.wait()
    assert result["state"] == "done", result
    assert result["balance"]["rows"] == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 59]
    assert result["balance"]["rows_per_epoch"] == [59] * 10
    assert (result["steps"], result["test"]["rows"]) == (120, 10_000)
    assert result["test"]["accuracy"] > 0.6
    assert "\n  9             59                59" in run.log()
    assert "samples.png: 8 training images, and below them as augmented" in run.log()
