"""Faults on the real SLURM: time limits, preemption, kills, requeues from outside; scripts in the bare Python image."""

from __future__ import annotations

import subprocess

import pytest

from tests.testbed.conftest import Bed, Run, start_again, until

pytestmark = pytest.mark.testbed

# Counts to WORK in steps of 0.2 s, keeps its count in a file, saves and leaves when it is asked to.
COUNTER = """
import os, sys, time
step = int(open("count").read()) if os.path.exists("count") else 0
print("from", step, flush=True)
while step < int(sys.argv[1]):
    time.sleep(0.2)
    step += 1
    with open("count.new", "w") as file:
        file.write(str(step))
    os.replace("count.new", "count")
    if os.path.exists(os.environ["HPCDL_STOP_FILE"]):
        sys.exit(75)
print("reached", step)
"""
JOB = 'name: counter\ncontainer: python\nresources: {{gpus: 0, time: "{time}"}}\nscript: counter.py\nargs: [{work}]\n'


def counter(bed: Bed, work: int, time: str = "00:10:00", *options: str) -> Run:
    bed.write("counter.py", COUNTER)
    bed.write("job.yaml", JOB.format(time=time, work=work))
    return bed.submit("job.yaml", *options)


def reasons(run: Run) -> list[str]:
    return [row["reason"] for row in run.lines("attempts.jsonl") if row["event"] == "end"]


def counting(run: Run, beyond: int = 0) -> None:
    count = run.path / "work/count"
    until(lambda: count.exists() and int(count.read_text() or 0) > beyond)


def worker_of(run: Run) -> int:
    starts = [row for row in run.lines("attempts.jsonl") if row["event"] == "start"]
    return int(starts[-1]["pid"])


def test_time_limit_is_met_by_stopping_in_time(bed: Bed) -> None:
    run = counter(bed, 150, "00:01:00", "--set", "cluster.stop_margin_s=48", "--set", "cluster.signal_lead_s=1")
    until(lambda: reasons(run))
    start_again(run)
    until(lambda: len(reasons(run)) == 2 or (run.path / "result.json").exists())
    if not (run.path / "result.json").exists():
        start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert result["attempts"][0]["reason"] == "time_limit"
    assert result["attempts"][-1]["reason"] == "done"
    assert "reached 150" in run.log(len(result["attempts"]))
    assert not run.log(2).startswith("from 0")


def test_more_time_limits_than_allowed_fail(bed: Bed) -> None:
    limits = (
        "--set",
        "cluster.stop_margin_s=55",
        "--set",
        "cluster.signal_lead_s=1",
        "--set",
        "cluster.max_requeues=1",
    )
    run = counter(bed, 10_000, "00:01:00", *limits)
    until(lambda: reasons(run))
    start_again(run)
    result = run.wait()
    assert (result["state"], result["cause"]) == ("failed", "time_limit")
    assert "max_requeues is 1" in result["message"]
    assert reasons(run) == ["time_limit", "time_limit"]


def test_preempted_run_goes_on(bed: Bed) -> None:
    run = counter(bed, 60)
    counting(run, 5)
    node = subprocess.run(
        ["squeue", "-h", "-o", "%N", "-j", run.job_id], capture_output=True, text=True, check=True
    ).stdout.strip()
    wanted = ["--parsable", "--qos=high", "--account=nct00", f"--nodelist={node}", "--exclusive", "--output=/dev/null"]
    high = bed.run("sbatch", *wanted, "--wrap", "sleep 3").stdout.strip()
    until(lambda: run.status()["state"] in ("requeued", "queued") or len(reasons(run)) == 1)
    subprocess.run(["scancel", high], check=True)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]][-1] == "done"
    assert len(result["attempts"]) == 2
    assert "from 0" not in run.log(2)


def test_requeue_from_outside_goes_on(bed: Bed) -> None:
    run = counter(bed, 60)
    counting(run, 5)
    bed.run("scontrol", "requeue", run.job_id)
    start_again(run)
    result = run.wait()
    assert (result["state"], len(result["attempts"])) == ("done", 2)
    assert "from 0" not in run.log(2)


def test_killed_launcher_is_replaced(bed: Bed) -> None:
    run = counter(bed, 60)
    counting(run, 5)
    subprocess.run(["kill", "-9", str(worker_of(run))], check=True)
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["killed", "done"]
    assert "from 0" not in run.log(2)


def test_run_that_slurm_refused_is_sent_by_resume(bed: Bed) -> None:
    refusing = bed.write("refusing/sbatch", "#!/bin/sh\necho 'sbatch: error: no answer' >&2\nexit 1\n")
    refusing.chmod(0o755)
    path = bed.environment["PATH"]
    bed.environment["PATH"] = f"{refusing.parent}:{path}"
    bed.write("counter.py", COUNTER)
    bed.write("job.yaml", JOB.format(time="00:10:00", work=1))
    refused = bed.run("hpcdl", "submit", "job.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    bed.environment["PATH"] = path
    (folder,) = (manifest.parent for manifest in bed.runs.glob("counter/*/manifest.json"))
    run = Run(bed, folder)
    assert run.status()["state"] == "created"
    bed.run("hpcdl", "resume", folder, "--wait")
    assert run.json("result.json")["state"] == "done"


def test_cancel_is_final(bed: Bed) -> None:
    run = counter(bed, 10_000)
    counting(run)
    bed.run("hpcdl", "cancel", run.path)
    refused = bed.run("hpcdl", "resume", run.path, check=False)
    assert refused.returncode == 2
    assert "cancelling is final" in refused.stderr
    assert run.status()["state"] == "cancelled"


def test_resumed_run_goes_on_where_nothing_is_requeued(bed: Bed) -> None:
    run = counter(bed, 60, "00:10:00", "--set", "cluster.max_requeues=0")
    counting(run, 5)
    (run.path / "stop").touch()
    stopped = run.wait()
    assert stopped["state"] == "failed"
    assert "hpcdl resume" in stopped["message"]
    bed.run("hpcdl", "resume", run.path, "--wait")
    result = run.json("result.json")
    assert result["state"] == "done"
    assert "from 0" not in run.log(2)
