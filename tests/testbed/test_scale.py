"""``hpcdl scale`` on the real SLURM: its runs wait for each other, and it shows how far they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.testbed.conftest import Bed, Run

pytestmark = pytest.mark.testbed


def test_runs_wait_for_each_other(bed: Bed) -> None:
    done = bed.run(
        *("hpcdl", "scale", "mnist_cnn", "--cluster", bed.profile, "--runs-dir", bed.runs),
        *("--gpus", "1,2", "--no-check"),
    )
    folder = Path(done.stdout.strip())
    listed = json.loads((folder / "scale.json").read_text())["runs"]
    first, second = (Run(bed, folder.parent / run["folder"]) for run in listed)
    try:
        waits_for = bed.run("squeue", "-h", "-j", second.job_id, "-o", "%E").stdout
        shown = bed.run("hpcdl", "scale", folder, check=False)
    finally:
        for run in (second, first):  # else the end of the first one starts the second
            bed.run("hpcdl", "cancel", run.path)

    assert f"afterany:{first.job_id}" in waits_for
    assert "one after the other, up to 00:15:00 each: up to 0.75 GPU-hours together" in done.stderr
    assert "No size has measured anything yet." in shown.stdout
    assert "2 GPUs: its run is queued" in shown.stdout
