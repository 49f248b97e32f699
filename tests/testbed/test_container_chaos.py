"""Local runs in a container whose launcher, trainer or image server is killed; benchmarks/chaos.py kills more."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.testbed.conftest import CHECKOUT, until

pytestmark = pytest.mark.testbed

LOCAL = ("--backend", "local", "--set", "cluster.runtime=apptainer")
TICKING = """
import os, time
with open("pids", "a") as file:
    print(os.getpid(), file=file)
while not os.path.exists("enough"):
    time.sleep(0.1)
"""


def test_kills_in_a_container_lose_nothing(bed):
    scripts = bed.folder / "benchmarks"
    shutil.copytree(CHECKOUT / "benchmarks", scripts)
    kinds = ("--kinds", "launcher killed", "image server killed", "trainer killed")
    submit = ("--cluster", bed.profile, "--set", "cluster.runtime=apptainer")
    argv = (
        "python",
        scripts / "chaos.py",
        "--kills",
        4,
        "--seed",
        2,
        "--folder",
        bed.folder,
        *kinds,
        "--",
        *submit,
    )
    done = bed.run(*argv, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 lost" in done.stdout


def test_orphaned_script_does_not_run_twice(bed):
    """Resume ends the script of a killed launcher before it starts another."""
    bed.write("ticking.py", TICKING)
    bed.write(
        "job.yaml", "name: ticking\ncontainer: python\nresources: {gpus: 0}\nscript: ticking.py\n"
    )
    run = bed.submit("job.yaml", *LOCAL)
    pids = run.path / "work/pids"
    first = until(lambda: pids.exists() and pids.read_text().split())[0]
    os.kill(run.lines("attempts.jsonl")[-1]["pid"], signal.SIGKILL)
    until(lambda: run.status()["state"] == "lost")
    bed.run("hpcdl", "resume", run.path)
    until(lambda: len(pids.read_text().split()) == 2)
    assert not Path("/proc", first).exists()
    bed.write(f"runs/{run.path.parent.name}/{run.path.name}/work/enough", "")
    assert run.wait()["state"] == "done"
