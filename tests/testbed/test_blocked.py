"""Cancelling and ending on the real SLURM where the run folder is full, or was removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.testbed.conftest import Bed, until
from tests.testbed.test_faults import counter, counting, in_queue, worker_of

pytestmark = pytest.mark.testbed


@pytest.mark.cases("F25")
def test_removed_run_leaves_nothing(bed: Bed) -> None:
    """The worker, its container and the job end within seconds, and are not requeued."""
    run = counter(bed, 10_000)
    counting(run)
    job_id, worker = run.job_id, worker_of(run)

    shutil.rmtree(run.path)

    until(lambda: not Path(f"/proc/{worker}").exists(), timeout_s=25)
    until(lambda: not in_queue_by_id(bed, job_id), timeout_s=25)


@pytest.mark.cases("F25")
def test_removed_run_that_waits_is_named(bed: Bed) -> None:
    """hpcdl cancel says which job is still there, and how to end it."""
    run = counter(bed, 10_000, "00:10:00", "--set", "slurm.begin=now+1hour")
    job_id = run.job_id
    shutil.rmtree(run.path)

    refused = bed.run("hpcdl", "cancel", run.path, check=False)

    assert refused.returncode == 1
    command = f"scancel {job_id}"
    assert refused.stderr.endswith(f"{command}\n")
    bed.run(*command.split())
    until(lambda: not in_queue_by_id(bed, job_id))


@pytest.mark.cases("F7")
def test_unmarked_cancel_is_final_in_slurm(bed: Bed) -> None:
    """Where the mark cannot be written, SLURM's word shows it, and nothing is requeued."""
    run = counter(bed, 10_000)
    counting(run)
    (run.path / "cancelled").symlink_to("/proc/nothing/there")
    run.path.chmod(0o555)

    done = bed.run("hpcdl", "cancel", run.path)

    assert "its folder does not show that" in done.stderr
    until(lambda: not in_queue(run))
    (run.path / "cancelled").unlink()
    until(lambda: run.status()["state"] == "cancelled", timeout_s=90)
    run.path.chmod(0o755)


def in_queue_by_id(bed: Bed, job_id: str) -> str:
    answer = bed.run("squeue", "--noheader", "--format=%T", f"--jobs={job_id}", check=False)
    return str(answer.stdout)
