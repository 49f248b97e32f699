"""Faults on the real SLURM: time limits, preemption, kills, requeues from outside; scripts in the bare Python image."""

from __future__ import annotations

import subprocess

import pytest

from tests.testbed.conftest import Bed, Run, start_again, until

pytestmark = [pytest.mark.testbed, pytest.mark.second_bed]

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


def in_queue(run: Run, job_id: str = "") -> str:
    """SLURM's word for a job that has not ended."""
    argv = ["squeue", "--noheader", "--format=%T", f"--jobs={job_id or run.job_id}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def node_of(run: Run) -> str:
    return str(run.lines("attempts.jsonl")[-1]["node"])


def worker_of(run: Run) -> int:
    starts = [row for row in run.lines("attempts.jsonl") if row["event"] == "start"]
    return int(starts[-1]["pid"])


def test_program_stops_before_time_limit(bed: Bed) -> None:
    """It is stopped in time, run again, and continues until it is done."""
    run = counter(
        bed,
        150,
        "00:01:00",
        "--set",
        "cluster.stop_margin_s=48",
        "--set",
        "cluster.signal_lead_s=1",
    )
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


def test_too_many_time_limits_fail(bed: Bed) -> None:
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


def test_preempted_run_continues(bed: Bed) -> None:
    run = counter(bed, 60)
    counting(run, 5)
    node = node_of(run)
    wanted = [
        "--parsable",
        "--qos=high",
        "--account=nct00",
        f"--nodelist={node}",
        "--exclusive",
        "--output=/dev/null",
    ]
    high = bed.run("sbatch", *wanted, "--wrap", "sleep 3").stdout.strip()
    until(lambda: run.status()["state"] in ("requeued", "queued") or len(reasons(run)) == 1)
    subprocess.run(["scancel", high], check=True)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["preempted", "done"]
    assert "from 0" not in run.log(2)


@pytest.mark.cases("fault 4")
def test_requeued_run_continues(bed: Bed) -> None:
    run = counter(bed, 60)
    counting(run, 5)
    bed.run("scontrol", "requeue", run.job_id)
    start_again(run)
    result = run.wait()
    assert [row["reason"] for row in result["attempts"]] == ["requeued", "done"]
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


def test_failed_node_is_avoided(bed: Bed) -> None:
    """SLURM requeues what ran on a node that died, and may start it there again once the node answers."""
    run = counter(bed, 60)
    counting(run, 5)
    node = node_of(run)
    change = ["scontrol", "update", f"NodeName={node}"]
    subprocess.run([*change, "State=DOWN", "Reason=test"], check=True)
    try:
        until(lambda: "PENDING" in in_queue(run))
    finally:
        subprocess.run(
            [*change, "State=RESUME"], check=False
        )  # refused where the node is back by itself
    subprocess.run(["scontrol", "update", f"JobId={run.job_id}", f"ReqNodeList={node}"], check=True)
    first = run.job_id
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["node_failure", "done"]
    assert result["attempts"][0]["node"] == node
    assert result["attempts"][1]["node"] != node
    assert run.job_id != first
    assert "from 0" not in run.log(2)


NO_REQUEUE = ("--set", "cluster.requeue=false", "--set", "cluster.max_requeues=2")


def test_chain_replaces_requeue(bed: Bed) -> None:
    run = counter(bed, 60, "00:10:00", *NO_REQUEUE)
    job_ids = run.json("submitted.json")["job_ids"]
    assert len(job_ids) == 3
    assert "(Dependency)" in bed.run("squeue", "-h", "-o", "%r (%r)", "-j", job_ids[2]).stdout
    counting(run, 5)
    (run.path / "stop").touch()
    until(lambda: reasons(run))
    until(lambda: run.status()["state"] == "running")
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["job_id"] for row in result["attempts"]] == job_ids[:2]
    assert "from 0" not in run.log(2)
    until(lambda: not in_queue(run, job_ids[2]))  # the rest of the chain leaves


def test_used_up_chain_is_resumed(bed: Bed) -> None:
    """After the chain's last job the run fails with its state saved, and resume continues it."""
    run = counter(
        bed, 60, "00:10:00", "--set", "cluster.requeue=false", "--set", "cluster.max_requeues=1"
    )
    for attempt in (1, 2):
        until(lambda: (run.path / f"logs/{attempt}.log").exists())  # noqa: B023 - called at once
        counting(run, 5 * attempt)
        (run.path / "stop").touch()
        until(lambda: len(reasons(run)) == attempt)  # noqa: B023
    failed = run.wait()
    assert failed["state"] == "failed"
    assert "last job of the chain" in failed["message"]
    bed.run("hpcdl", "resume", run.path, "--wait")
    assert run.json("result.json")["state"] == "done"
    assert "from 0" not in run.log(3)


@pytest.mark.parametrize("how", ["hpcdl", "scancel"])
def test_cancelled_chain_stops(bed: Bed, how: str) -> None:
    run = counter(bed, 10_000, "00:10:00", *NO_REQUEUE)
    job_ids = run.json("submitted.json")["job_ids"]
    counting(run)
    bed.run(*(("hpcdl", "cancel", run.path) if how == "hpcdl" else ("scancel", job_ids[0])))
    until(lambda: run.status()["state"] == "cancelled")
    until(lambda: not any(in_queue(run, job_id) for job_id in job_ids))
    assert not (run.path / "logs/2.log").exists()


def test_refused_run_is_sent_by_resume(bed: Bed) -> None:
    """A run that sbatch refused stays as created, and hpcdl resume sends it."""
    refusing = bed.write(
        "refusing/sbatch", "#!/bin/sh\necho 'sbatch: error: no answer' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    path = bed.environment["PATH"]
    bed.environment["PATH"] = f"{refusing.parent}:{path}"
    bed.write("counter.py", COUNTER)
    bed.write("job.yaml", JOB.format(time="00:10:00", work=1))
    options = ("--cluster", bed.profile, "--runs-dir", bed.runs)
    refused = bed.run("hpcdl", "submit", "job.yaml", "--no-check", *options, check=False)
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


def test_run_without_requeues_is_resumed(bed: Bed) -> None:
    """With max_requeues 0 a stopped run fails with its state saved."""
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
