"""A sweep's trials that failed, or lost their task, are sent again: those alone, with their numbers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.conftest import VENV, Bed, until

pytestmark = pytest.mark.testbed

JOB = """
name: mixed
container: python
resources: {gpus: 0, time: "00:05:00", memory_gb: 2}
cluster: {memory_request: mem}
script: mixed.py
args: [--kind, well]
"""
# Fails, or hangs, unless it is asked the second time
SCRIPT = """
import json, os, sys, time
kind = sys.argv[2]
if kind != "well" and not os.path.exists("again"):
    open("again", "w").close()
    if kind == "hangs":
        time.sleep(600)
    print({"memory": "MemoryError", "code": "no such thing"}[kind])
    sys.exit(1)
with open(os.environ["HPCDL_METRICS_FILE"], "a") as lines:
    lines.write(json.dumps({"epoch": 1, "score": 1.0}) + "\\n")
"""
SENDS = """
import sys
import hpcdl
from hpcdl.submission.sweep import prepare_sweep, send_sweep
from hpcdl.sweeps.settings import SweepSettings
job, cluster = hpcdl.load_job("mixed.yaml"), None
cluster = hpcdl.load_cluster(sys.argv[1], ["cluster.memory_request=mem"])
settings = SweepSettings(
    name="mixed", over={"args.kind": ["well", "memory", "code", "hangs"]}, method="grid",
    metric="score", direction="maximize", trials=4, at_once=4,
)
print(send_sweep(prepare_sweep(job, cluster, settings, "slurm", sys.argv[2])).root)
"""


def results(sweep: Path) -> dict[str, str]:
    """The state of each trial that has ended, by its kind."""
    states = {}
    for trial in (sweep / "trials").iterdir():
        if (trial / "result.json").exists():
            kind = json.loads((trial / "trial.json").read_text())["params"]["args.kind"]
            states[kind] = json.loads((trial / "result.json").read_text())["state"]
    return states


def array_of(sweep: Path, place: int) -> dict[str, Any]:
    array: dict[str, Any] = json.loads((sweep / "submitted.json").read_text())["arrays"][place]
    return array


def test_only_failed_trials_are_sent(bed: Bed) -> None:
    bed.write("mixed.py", SCRIPT)
    bed.write("mixed.yaml", JOB)
    sent = bed.run(VENV / "python", "-c", SENDS, bed.profile, bed.runs)
    sweep = Path(sent.stdout.strip())
    until(lambda: len(results(sweep)) == 3 and len(list((sweep / "trials").iterdir())) == 4)
    until(lambda: (sweep / "trials/00003/attempts.jsonl").exists())

    # The trial of a living task is nobody else's
    living = bed.run("hpcdl", "retry", sweep, "--dry-run").stdout
    assert [line.split(" · ")[0] for line in living.splitlines()] == ["trial 1", "trial 2"]
    assert "trial 1 · out_of_memory · wait: 1 tasks still run" in living
    assert "trial 2 · user_code · not sent: the fault is in the script" in living

    owner = (sweep / "claims/00003").readlink()
    bed.run("scancel", owner)
    until(lambda: not subprocess.run(
        ["squeue", "--noheader", f"--jobs={array_of(sweep, 0)['job_id']}"], capture_output=True
    ).stdout)  # fmt: skip
    done = bed.run("hpcdl", "retry", sweep)
    assert done.stdout == f"{sweep}\n"
    assert "trial 1 · out_of_memory · send it again with more memory" in done.stderr
    assert "trial 3 · lost · send it again" in done.stderr
    assert "memory 2 GB -> 3 GB" in done.stderr
    assert array_of(sweep, 1)["options"] == ["--mem=3072M"]
    until(
        lambda: (
            results(sweep) == {"well": "done", "memory": "done", "code": "failed", "hangs": "done"}
        )
    )

    refused = bed.run("hpcdl", "retry", sweep, check=False)
    assert (refused.returncode, "not sent: the fault is in the script" in refused.stderr) == (
        2,
        True,
    )
    bed.run("hpcdl", "retry", sweep, "--trial", 2, "--force")
    until(lambda: results(sweep).get("code") == "done")
    assert "nothing to send" in bed.run("hpcdl", "retry", sweep).stderr
    attempts = []
    for number in range(4):
        lines = (sweep / f"trials/{number:05d}/attempts.jsonl").read_text().splitlines()
        attempts.append(sum(json.loads(line)["event"] == "start" for line in lines))
    assert attempts == [1, 2, 2, 2]
