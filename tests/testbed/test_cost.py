"""`hpcdl cost` on the real SLURM: its figures are seff's, of a plain job, a requeued one and a task of an array."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpcdl.scheduler.accounting import JobRecord, job_records
from tests.testbed.conftest import Bed, Run, start_again, until

pytestmark = pytest.mark.testbed
SEFF = "/opt/hpcdl-testbed/bin/seff"
# Busy on one CPU with 300 MB, longer than SLURM's 5 seconds between two looks at a job
BUSY = "import time\ndata = bytearray(300_000_000)\nend = time.monotonic() + 7\nwhile time.monotonic() < end:\n    pass\n"
STOPS = (
    "import os, sys, time\n"
    "if os.path.exists('saved'):\n"
    f"    exec({BUSY!r})\n    sys.exit(0)\n"
    "print('up', flush=True)\n"
    "while not os.path.exists(os.environ['HPCDL_STOP_FILE']):\n    time.sleep(0.1)\n"
    "open('saved', 'w').close()\nsys.exit(75)\n"
)
JOB = 'name: busy\ncontainer: python\nresources: {gpus: 1, cpus: 4, memory_gb: 2, time: "00:10:00"}\nscript: program.py\n'


def seff(job_id: str) -> dict[str, float]:
    """seff's figures: seconds, percent, KiB. It looks at a job's last attempt only."""
    done = subprocess.run([SEFF, job_id], capture_output=True, text=True, check=True)
    utilized = re.search(r"CPU Utilized: (\S+)", done.stdout)
    cpu = re.search(r"CPU Efficiency: ([\d.]+)%", done.stdout)
    wall = re.search(r"Job Wall-clock time: (\S+)", done.stdout)
    memory = re.search(r"Memory Utilized: ([\d.]+) (\w)B", done.stdout)
    share = re.search(r"Memory Efficiency: ([\d.]+)% of ([\d.]+) (\w)B", done.stdout)
    assert utilized and cpu and wall and memory and share, done.stdout
    units = {"K": 1, "M": 1024, "G": 1024**2}
    return {
        "cpu_s": seconds(utilized[1]),
        "cpu": float(cpu[1]),
        "wall_s": seconds(wall[1]),
        "memory_kib": float(memory[1]) * units[memory[2]],
        "memory": float(share[1]),
        "asked_kib": float(share[2]) * units[share[3]],
    }


def seconds(text: str) -> float:
    hours, minutes, rest = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60 + float(rest)


def ended(job_id: str, attempts: int = 1) -> list[JobRecord]:
    """A job's attempts, once accounting knows how all of them ended."""

    def settled() -> list[JobRecord]:
        records = job_records([job_id])
        known = [record for record in records if record.cpu_s is not None]
        return known if len(known) == attempts == len(records) else []

    records: list[JobRecord] = until(settled)
    return records


def assert_same(record: JobRecord, theirs: dict[str, float]) -> None:
    """seff rounds CPU time to seconds and everything else to two digits."""
    assert record.elapsed_s == theirs["wall_s"]
    assert record.cpu_s is not None
    assert record.cpu_s == pytest.approx(theirs["cpu_s"], abs=1)
    core_s = record.cpus * record.elapsed_s
    assert 100 * record.cpu_s / core_s == pytest.approx(theirs["cpu"], abs=100 / core_s + 0.01)
    assert record.used_memory_kib == pytest.approx(theirs["memory_kib"], rel=0.01)


def cost(run: Run) -> dict[str, Any]:
    content = json.loads(run.bed.run("hpcdl", "cost", run.path, "--json").stdout)
    row: dict[str, Any] = content["runs"][0]
    return {**row, "suggestion": content["suggestions"][0]}


def submit(bed: Bed, program: str) -> Run:
    bed.write("program.py", program)
    job = bed.write("job.yaml", JOB)
    return bed.submit(job, "-s", "cluster.memory_request=mem")


def test_figures_are_those_of_seff(bed: Bed) -> None:
    run = submit(bed, BUSY)
    assert run.wait()["state"] == "done"
    (record,) = ended(run.job_id)
    theirs = seff(run.job_id)
    assert_same(record, theirs)

    ours = cost(run)
    core_s = record.cpus * record.elapsed_s
    assert 100 * ours["efficiency"]["cpu"] == pytest.approx(theirs["cpu"], abs=100 / core_s + 0.01)
    assert ours["used"]["time_s"] == theirs["wall_s"]
    assert ours["used"]["memory_gb"] * 1024**2 == pytest.approx(theirs["memory_kib"], rel=0.01)
    assert ours["used"]["memory_gb"] > 0.27
    asked_kib = 2 * 1024**2
    assert ours["efficiency"]["memory"] == pytest.approx(theirs["memory_kib"] / asked_kib, rel=0.01)
    assert 100 * ours["efficiency"]["memory"] == pytest.approx(theirs["memory"], abs=0.02)
    assert theirs["asked_kib"] == asked_kib
    (ended_line,) = [line for line in run.lines("attempts.jsonl") if line["event"] == "end"]
    assert ours["gpu_hours"] == pytest.approx(ended_line["seconds"] / 3600)
    assert ended_line["seconds"] < record.elapsed_s + 1
    assert ours["energy_j"] is None
    assert any("use of the GPUs is not known" in sentence for sentence in ours["unknown"])
    options = "--set resources.time=00:15:00 --set resources.memory_gb=1 --set resources.cpus="
    assert ours["suggestion"]["options"].startswith(options)
    assert ours["suggestion"]["cpus"] in (1, 2)  # of 4; one was busy if the machine let it


def test_second_submission_knows_the_first(bed: Bed) -> None:
    assert submit(bed, "print(1)\n").wait()["state"] == "done"
    options = ["--cluster", bed.profile, "--runs-dir", bed.runs, "-s", "cluster.memory_request=mem"]
    done = bed.run("hpcdl", "submit", bed.folder / "job.yaml", *options)
    assert "GPU-hours, by 1 earlier run" in done.stderr


def test_requeued_run_counts_all_attempts(bed: Bed) -> None:
    run = submit(bed, STOPS)
    until(lambda: (run.path / "logs/1.log").exists() and "up" in run.log())
    bed.run("scancel", "--batch", "--signal=USR2", run.job_id)
    until(lambda: run.status()["state"] == "requeued")
    start_again(run)
    assert run.wait()["state"] == "done"
    records = ended(run.job_id, attempts=2)
    assert [record.state for record in records] == ["REQUEUED", "COMPLETED"]
    assert_same(records[-1], seff(run.job_id))

    ours = cost(run)
    total_s = sum(record.elapsed_s for record in records)
    used_s = sum(record.cpu_s or 0 for record in records)
    assert ours["attempts"] == 2
    assert ours["efficiency"]["cpu"] == pytest.approx(used_s / (4 * total_s))
    ends = [line for line in run.lines("attempts.jsonl") if line["event"] == "end"]
    assert ours["gpu_hours"] == pytest.approx(sum(line["seconds"] for line in ends) / 3600)
    waits_s = sum((record.start or 0) - (record.eligible or 0) for record in records)
    assert ours["queue_s"] == waits_s


def test_array_task_agrees_with_seff(bed: Bed) -> None:
    program = bed.write("busy.py", BUSY)
    options = ["--array=0-1", "--cpus-per-task=2", "--mem=1G", "--output=/dev/null", "--parsable"]
    command = f"python3 {program}"
    job_id = bed.run("sbatch", *options, f"--wrap={command}").stdout.strip()
    records = {record.job_id: record for record in ended(job_id, attempts=2)}
    assert sorted(records) == [f"{job_id}_0", f"{job_id}_1"]
    for task_id, record in records.items():
        assert_same(record, seff(task_id))
        assert record.asked_memory_kib == 1024**2


def test_cost_without_accounting_says_why(bed: Bed, tmp_path: Path) -> None:
    """A login node without sacct: GPU-hours are the run's own."""
    run = submit(bed, "print(1)\n")
    assert run.wait()["state"] == "done"
    hidden = bed.folder / "bin"
    hidden.mkdir()
    for name in ("env", "squeue", "scontrol"):
        (hidden / name).symlink_to(f"/usr/bin/{name}")
    bed.environment["PATH"] = str(hidden)
    text = bed.run("/opt/hpcdl-testbed/venv/bin/hpcdl", "cost", run.path).stdout
    assert "memory is the largest process's: sacct is not on this machine" in text
    assert "next time for busy: --set resources.time=00:15:00" in text


SCORES = """
import json, os
with open(os.environ["HPCDL_METRICS_FILE"], "a") as lines:
    lines.write(json.dumps({"epoch": 1, "val_loss": 1.0}) + "\\n")
"""


def test_budget_counts_what_waits(bed: Bed) -> None:
    """A waiting job holds its part; one that ended behind hpcdl's back does not."""
    bed.write("program.py", "print(1)\n")
    job = bed.write("job.yaml", JOB)
    options = ["--cluster", bed.profile, "--runs-dir", bed.runs]
    options += ["-s", "cluster.budget_gpu_hours=0.3", "-s", "cluster.memory_request=mem"]
    waits = Run(
        bed,
        Path(
            bed.run("hpcdl", "submit", job, *options, "-s", "slurm.begin=now+1hour").stdout.strip()
        ),
    )

    refused = bed.run("hpcdl", "submit", job, *options, check=False)
    assert refused.returncode == 2
    assert (
        "0.3 GPU-hours are allowed, 0 are used, 0.167 are reserved by 1 run under way"
        in refused.stderr
    )
    unchecked = bed.run("hpcdl", "submit", job, "--no-check", *options, check=False)
    assert unchecked.returncode == 2
    assert "budget_gpu_hours: 0.3 GPU-hours are allowed" in unchecked.stderr
    assert len(list(bed.runs.glob("busy/2*"))) == 1

    subprocess.run(["scancel", waits.job_id], check=True)
    until(lambda: bed.run("hpcdl", "submit", job, *options, check=False).returncode == 0)


def test_budget_holds_what_is_sent_again(bed: Bed) -> None:
    """A retry, and trials that are added, are refused as a new job is; nothing is sent or changed."""
    bed.write("program.py", SCORES)
    job = bed.write("job.yaml", JOB)
    run = submit(bed, "import sys\nsys.exit(1)\n")
    assert run.wait()["state"] == "failed"
    bed.write("program.py", SCORES)
    sweep = bed.run(
        *("hpcdl", "sweep", job, "--cluster", bed.profile, "--runs-dir", bed.runs),
        *("--over", "args.rate=0.1|0.2|0.3", "--trials", "1", "--metric", "val_loss"),
    ).stdout.strip()
    assert bed.run("hpcdl", "wait", sweep, check=False).returncode == 0

    for words in (("retry", run.path, "--force"), ("sweep", "more", sweep, "--trials", "2")):
        asked = {"retry": "0.167", "sweep": "0.333"}[words[0]]
        for more in ((), ("--dry-run",)):
            budget = ("--set", "cluster.budget_gpu_hours=0.1")
            refused = bed.run("hpcdl", *words, *budget, *more, check=False)
            assert refused.returncode == 2
            assert f"and {asked} are asked for; ask for a shorter time" in refused.stderr
        assert bed.run("hpcdl", *words, "--set", "cluster.budget_gpu_hours=9").returncode == 0
    assert bed.run("hpcdl", "wait", sweep, check=False).returncode == 0
    assert len(list((Path(sweep) / "trials").iterdir())) == 3
    assert run.wait()["state"] == "failed"
    assert len(run.wait()["attempts"]) == 2
