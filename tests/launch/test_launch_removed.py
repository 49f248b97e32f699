"""A run whose folder, or a part of it, is removed while it runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest

from hpcdl.launch import retry
from hpcdl.launch.retry import RunRemovedError, keep_trying
from hpcdl.run.paths import RunPaths

pytestmark = pytest.mark.cases("F25")

SLEEPS = """import time, sys
print("begun", flush=True)
while True:
    time.sleep(0.05)
"""


def test_removed_run_ends_soon(machine):
    """Neither the worker nor its program goes on for the minutes that a sick disk is given."""
    run = machine.submit(SLEEPS)
    run.until_log("begun")
    group = run.group
    shutil.rmtree(run.path)

    begun = time.monotonic()
    run.until(lambda: not alive(group), timeout_s=20)
    assert time.monotonic() - begun < 15


def alive(group):
    from tests.launch.conftest import alive_in_group

    return alive_in_group(group)


def test_removed_logs_are_created_again(machine):
    """A part that is removed between two attempts costs its contents, not the run."""
    run = machine.submit(
        """import os, sys
stop = os.environ["HPCDL_STOP_FILE"]
again = os.path.exists("second")
open("second", "w").close()
run = os.path.dirname(stop)
import shutil
shutil.rmtree(os.path.join(run, "logs"))
shutil.rmtree(os.path.join(run, "home"), ignore_errors=True)
sys.exit(0 if again else 75)
"""
    )
    run.until(lambda: (run.path / "result.json").exists() and "attempts" in run.json("result.json"))

    assert run.json("result.json")["state"] == "done"
    assert [row["event"] for row in run.lines("attempts.jsonl")] == ["start", "end"] * 2


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder in a runs_root, and pauses that take no time."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("HPCDL_SAVE_RETRY_S", "20")
    paths = RunPaths(tmp_path / "runs" / "a" / "20260101-1200-aaaa")
    paths.root.mkdir(parents=True)
    (tmp_path / "runs" / ".code").mkdir()
    return paths


def test_removed_run_is_not_waited_for(run):
    shutil.rmtree(run.root)

    with pytest.raises(RunRemovedError, match="aaaa was removed"):
        keep_trying("the mark", run.cancelled.touch, run)


@pytest.mark.parametrize("missing", ["a moment", "the file system"])
def test_missing_run_is_waited_for(run, missing):
    """A network file system forgets a folder for a moment, or is away as a whole."""
    away = run.root.parent.parent if missing == "the file system" else run.root
    away.rename(away.with_name("elsewhere"))
    looks = []

    def work():
        looks.append(1)
        if len(looks) == (retry.SURE_AFTER if missing == "a moment" else 40):
            away.with_name("elsewhere").rename(away)
        run.cancelled.touch()

    keep_trying("the mark", work, run)

    assert run.cancelled.exists()


def test_worker_of_removed_run(run):
    """A requeued job that finds nothing says so at once, instead of looking for its pickle."""
    shutil.rmtree(run.root)

    done = subprocess.run(
        [sys.executable, "-m", "hpcdl.worker", str(run.submitit)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr == f"hpcdl: {run.root} was removed: there is nothing to run\n"
