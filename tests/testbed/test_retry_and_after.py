"""Runs that failed are sent again by their cause, on the real SLURM."""

from __future__ import annotations

import subprocess

import pytest

from tests.testbed.conftest import Bed, Run

pytestmark = pytest.mark.testbed

JOB = 'name: {name}\ncontainer: python\nresources: {{gpus: {gpus}, time: "00:05:00"}}\nscript: {name}.py\n'
# Prints a last line and fails, unless it is asked the second time
ONCE = """
import os, sys
if os.path.exists("again"):
    sys.exit()
open("again", "w").close()
print({words!r})
sys.exit(1)
"""


def job(bed: Bed, name: str, program: str, more: str = "", gpus: int = 0) -> str:
    bed.write(f"{name}.py", program)
    return str(bed.write(f"{name}.yaml", JOB.format(name=name, gpus=gpus) + more))


def shown(run: Run) -> str:
    """What SLURM knows of a run's job."""
    argv = ["scontrol", "show", "job", run.job_id]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_more_memory_is_asked_for(bed: Bed) -> None:
    memory = "resources.memory_gb=2"
    run = bed.submit(
        job(bed, "eats", ONCE.format(words="MemoryError")),
        *("--set", "cluster.memory_request=mem", "--set", memory),
    )
    assert run.wait()["cause"] == "out_of_memory"
    dry = bed.run("hpcdl", "retry", run.path, "--dry-run").stdout
    assert "memory 2 GB -> 3 GB · --mem=3072M" in dry
    assert bed.run("hpcdl", "retry", run.path).stdout == f"{run.path}\n"
    assert run.wait()["state"] == "done"
    assert "MinMemoryNode=3G" in shown(run)
    again = bed.run("hpcdl", "retry", run.path)
    assert (again.stdout, "nothing: it is done" in again.stderr) == ("", True)


def test_memory_comes_with_cpus(bed: Bed) -> None:
    run = bed.submit(
        job(bed, "eats", ONCE.format(words="MemoryError")), "--set", "resources.cpus=2"
    )
    run.wait()
    refused = bed.run("hpcdl", "retry", run.path, "--memory-gb", 10_000, check=False)
    assert (refused.returncode, "no node here has more than" in refused.stderr) == (2, True)
    bed.run("hpcdl", "retry", run.path)
    assert run.wait()["state"] == "done"
    assert "CPUs/Task=3" in shown(run)


def test_broken_device_is_left(bed: Bed) -> None:
    words = "CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error"
    run = bed.submit(
        job(bed, "broken", ONCE.format(words=words), gpus=1), "--set", "slurm.exclude=n4"
    )
    failed = run.wait()
    assert failed["cause"] == "device"
    bed.run("hpcdl", "retry", run.path)
    ended = run.wait()
    assert ended["state"] == "done"
    first, second = (attempt["node"] for attempt in ended["attempts"])
    assert second not in (first, "n4")


def test_cancelled_run_is_sent_by_name(bed: Bed) -> None:
    run = bed.submit(job(bed, "waits", "print(1)\n", "slurm: {hold: true}\n"))
    bed.run("hpcdl", "cancel", run.path)
    assert bed.run("hpcdl", "retry", run.path, check=False).returncode == 2
    bed.run("hpcdl", "retry", run.path, "--cause", "cancelled")
    subprocess.run(["scontrol", "release", run.job_id], check=True)
    assert run.wait()["state"] == "done"
