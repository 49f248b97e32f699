"""`hpcdl cost` on run folders and a sacct that answers as it is told."""

from __future__ import annotations

import json
import os
import time

import pytest

from hpcdl.files import append_json_line
from hpcdl.run import Run
from hpcdl.sweeps.costs import costs_of
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted

PLAN = {
    "size": {"nodes": 1, "gpus": 2, "cpus": 10, "memory_gb": 40.0, "time_limit_s": 3600},
    "directives": [["mem", "40960M"]],
}
SENT = time.mktime(time.strptime("2026-11-28T16:00:00", "%Y-%m-%dT%H:%M:%S"))
FIELDS = "JobIDRaw JobID State Submit Eligible Start ElapsedRaw TimelimitRaw AllocCPUS NNodes NTasks TotalCPU ReqMem MaxRSS"
ANSWER = """\
7|7|COMPLETED|2026-11-28T16:00:00|2026-11-28T16:00:00|2026-11-28T16:00:30|1802|60|10|1||01:00:04|40G|
7.batch|7.batch|COMPLETED|2026-11-28T16:00:30|2026-11-28T16:00:30|2026-11-28T16:00:30|1802||10|1|1|01:00:04||4G
"""


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Makes the folder of a run that was sent to SLURM, took half an hour, and is done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def make(name="a/20261128-1600-aaaa", backend="slurm", seconds=1800.0, done=True):
        root = tmp_path / "runs" / name
        root.mkdir(parents=True)
        (root / "manifest.json").write_text(json.dumps({"created": SENT}))
        (root / "plan.json").write_text(json.dumps(PLAN))
        sent = {"backend": backend, "time": SENT, "job_id": "7" if backend == "slurm" else None}
        (root / "submitted.json").write_text(json.dumps({**sent, "host": "elsewhere"}))
        job_id = sent["job_id"]
        rows = [{"event": "start", "attempt": 1, "job_id": job_id, "node": "n", "time": SENT + 30}]
        if done:
            ends = {"event": "end", "reason": "done", "time": SENT + 30 + seconds}
            rows.append({**rows[0], **ends, "seconds": seconds})
            (root / "result.json").write_text('{"state": "done"}')
        (root / "attempts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return root

    return make


@pytest.fixture
def sacct(tmp_path):
    """A sacct that knows the job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sacct").write_text(
        f'#!/bin/sh\n[ "$1" = --helpformat ] && echo {FIELDS} && exit\necho "{ANSWER}"\n'
    )
    (folder / "sacct").chmod(0o755)


def test_idle_gpus_are_counted(cli, make_run, sacct):
    root = make_run()
    timing = {"gpu_use_percent": 25.0, "idle_gpu_hours": 0.75, "sampled_gpu_hours": 1.0}
    result = {"state": "done", "attempts": [], "timing": timing}
    (root / "result.json").write_text(json.dumps(result))
    make_run("a/20261128-1700-bbbb")

    answer = cli("cost")

    heading, first, second, total, idle = answer.out.splitlines()[:5]
    assert heading.split()[-2:] == ["MEMORY", "GPU"]
    assert first.endswith("  25.0 %")
    assert second.endswith("  –")
    assert total.startswith("2 runs")
    assert idle == "GPUs that did nothing: 0.750 of 1.00 GPU-hours (75.0 %)"
    (run, other) = json.loads(cli("cost", "--json").out)["runs"]
    assert (run["devices"], other["devices"]) == (timing, {})


def test_running_run_is_measured(cli, make_run, sacct):
    root = make_run(done=False)
    line = {"attempt": 1, "time": SENT + 60, "seconds": 36.0, "use": [10.0, 30.0]}
    append_json_line(root / "devices.jsonl", line)

    assert "GPUs that did nothing: 0.016 of 0.020 GPU-hours (80.0 %)" in cli("cost", root).out


def test_one_run_by_accounting(cli, make_run, sacct):
    answer = cli("cost", make_run())

    assert answer.code == 0
    table = " ".join(answer.out.split())
    assert "a/20261128-1600-aaaa done 1.00 5.00 0:30 30:02 of 1:00:00 (50.1 %) 20.0 %" in table
    assert "4.00 GB of 40 GB (10.0 %)" in table
    assert "the use of the GPUs is not known" in answer.out
    assert "energy" not in answer.out
    options = "--set resources.time=00:45:00 --set resources.memory_gb=5 --set resources.cpus=3"
    assert answer.out.endswith(f"next time for a: {options}\n")


def test_suggested_options_are_taken(cli, make_run, sacct, write_job):
    """The line can be pasted behind submit, check or render."""
    options = cli("cost", make_run()).out.splitlines()[-1].partition(": ")[2].split()
    script = write_job("name: a\nscript: a.py\n", a__py="")
    profile = write_job(
        "name: c\nnode: {cpus: 10, gpus: 2, memory_gb: 40}\nimages: {tensorflow: /i.sif}\nmemory_request: mem\n",
        "c.yaml",
    )

    text = cli("render", script, "--cluster", profile, *options).out

    assert "#SBATCH --time=00:45:00" in text
    assert "#SBATCH --mem=5120M" in text
    assert "#SBATCH --cpus-per-task=3" in text


def test_json_for_programs(cli, make_run, sacct):
    content = json.loads(cli("cost", make_run(), "--json").out)

    (run,) = content["runs"]
    assert run["gpu_hours"] == 1.0
    assert run["queue_s"] == 30
    assert run["energy_j"] is None
    assert run["asked"]["memory_gb"] == 40.0
    assert run["efficiency"]["cpu"] == pytest.approx(0.2)
    assert content["total"]["gpu_hours"] == 1.0
    assert content["suggestions"][0]["cpus"] == 3


def test_run_without_accounting(cli, make_run):
    answer = cli("cost", make_run())

    assert answer.code == 0
    assert "1.00   5.00" in answer.out
    assert "CPU and energy are not known" in answer.out
    assert "sacct is not on this machine" in answer.out
    assert "next time for a: --set resources.time=00:45:00" in answer.out


def test_local_run_has_no_queue(cli, make_run):
    make_run(backend="local")

    (run,) = json.loads(cli("cost", "--json").out)["runs"]

    assert run["queue_s"] is None
    assert "it ran without SLURM" in run["unknown"][0]


def test_total_counts_older_runs(cli, make_run):
    for number in range(25):
        make_run(f"a/20261128-16{number:02}-aaaa", backend="local")

    answer = cli("cost")

    assert answer.out.count("20261128-16") == 20
    assert "25 runs" in answer.out
    assert "25.00  125" in answer.out
    assert "(5 older runs: in the total, not in the table)" in answer.err


def test_ended_runs_are_read_once(cli, make_run):
    """Until its attempts.jsonl changes, an older run that has ended is not opened again."""
    oldest = make_run("a/20251128-1600-0000")
    (oldest / "result.json").write_text('{"state": "done", "attempts": []}')
    os.utime(oldest / "attempts.jsonl", (SENT, SENT))
    for number in range(1, 21):
        make_run(f"a/20261128-1600-{number:04}", seconds=3600.0)
    first = cli("cost").out

    (oldest / "plan.json").unlink()

    assert cli("cost").out == first
    os.utime(oldest / "attempts.jsonl")
    total = cli("cost").out.partition("21 runs")[2].split()
    assert total[:2] == ["total", "40.00"]


def test_since_leaves_older_runs_out(cli, make_run):
    make_run()

    assert "a/2026" in cli("cost", "--since", "2020-01-01").out
    assert "no run fits" in cli("cost", "--since", "2100-01-01").err
    assert cli("cost", "--since", "soon").code == 2


@pytest.fixture
def sweep(make_run):
    """A sweep of 4 trials; 2 have ended, after half an hour each, in tasks of 2 GPUs that they share."""
    paths = SweepPaths(make_run("s/20261128-1600-ssss"))
    paths.run.attempts.unlink()
    paths.run.result.unlink()
    paths.tasks.mkdir()
    SweepSettings(
        name="s",
        over={"train.seed": [1, 2]},
        method="random",
        metric="loss",
        direction="minimize",
        trials=4,
        gpus=2,
        trials_per_gpu=2,
    ).write(paths)
    array = SentArray(job_id="7", tasks=2, at_once=2, sent=SENT)
    SweepSubmitted(backend="slurm", cluster="c", time=SENT, arrays=[array]).write(paths)
    for number in range(2):
        line = {"event": "end", "trial": number, "state": "done", "turn": 1, "task": "7_0"}
        figures = {"value": 0.5, "epoch": 1, "epochs": 1, "seconds": 1800.0, "params": {}}
        append_json_line(paths.task_log("7_0"), {**line, **figures, "time": SENT})
        trial = paths.trial(number)
        trial.mkdir(parents=True)
        start = {"event": "start", "attempt": 1, "job_id": "7_0", "time": SENT}
        append_json_line(trial / "attempts.jsonl", start)
        ended = {**start, "event": "end", "reason": "done", "seconds": 1800.0}
        append_json_line(trial / "attempts.jsonl", ended)
        (trial / "result.json").write_text('{"state": "done"}')
    return paths


def test_sweep_is_one_line(cli, sweep, tmp_path, sacct):
    """Its tasks are those of the array in accounting; its trials share the GPUs."""
    program = tmp_path / "bin" / "sacct"
    program.write_text(program.read_text().replace("7|7|", "8|7_0|").replace("7.b", "8.b"))

    content = json.loads(cli("cost", sweep.root, "--json").out)

    (row,) = content["runs"]
    assert row["state"] == "2 of 4"
    assert row["gpu_hours"] == 1.0
    assert row["efficiency"]["cpu"] == pytest.approx(0.2)
    assert content["suggestions"][0]["cpus"] == 3
    assert content["suggestions"][0]["time_s"] is None
    assert "no run of it shows how long it takes" in content["suggestions"][0]["notes"][0]


def test_trial_of_a_sweep(sweep, sacct):
    """What its task used is not the trial's alone."""
    (entry,) = costs_of([Run(sweep.trial(1))])

    assert (entry.job, entry.state) == ("s", "done")
    assert (entry.cost.gpu_hours, entry.cost.queue_s, entry.cost.cpu) == (0.5, None, None)
    assert "hpcdl cost SWEEP" in entry.cost.unknown[0]


def test_damaged_sweep_is_listed(cli, make_run, sweep):
    """Others are shown all the same."""
    make_run()
    sweep.sweep.write_text("{")

    answer = cli("cost")

    assert answer.code == 0
    assert "s/20261128-1600-ssss  unknown" in answer.out
    assert "a/20261128-1600-aaaa  done" in answer.out
