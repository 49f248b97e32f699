"""A budget of GPU-hours: what counts as used and reserved, and what is refused."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.errors import ClusterError, UserError
from hpcdl.files import append_json_line, write_json
from hpcdl.job import load_job
from hpcdl.preflight import Subject
from hpcdl.preflight.gpu_budget import gpu_budget
from hpcdl.run.gpu_hours import holdings
from hpcdl.submission.gpu_budget import asked_gpu_hours, require_budget, spent_in
from hpcdl.submission.prepare import prepare
from hpcdl.submission.send import submit
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted

PROFILE = "name: c\nnode: {cpus: 8, gpus: 2}\nimages: {tensorflow: /i.sif}\nbudget_gpu_hours: 10\nmin_poll_s: 1\n"
PLAN = {"nodes": 1, "gpus": 2, "cpus": 4, "time_limit_s": 3600}
LONG_AGO = 1_700_000_000.0


@pytest.fixture
def cluster(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(PROFILE)
    return load_cluster(str(path))


@pytest.fixture
def runs_root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def add_run(runs_root):
    """Adds a run with 2 GPUs and a limit of an hour; its ended attempts took these seconds."""

    def add(run_id, *seconds, done=True, backend="slurm", **plan):
        root = runs_root / "a" / run_id
        root.mkdir(parents=True)
        write_json(root / "manifest.json", {"created": LONG_AGO})
        write_json(root / "plan.json", {**PLAN, **plan})
        write_json(root / "submitted.json", {"backend": backend, "job_id": "7", "time": LONG_AGO})
        for number, taken_s in enumerate(seconds, 1):
            line = {"attempt": number, "time": LONG_AGO, "job_id": "7", "node": "n"}
            append_json_line(root / "attempts.jsonl", {**line, "event": "start"})
            reason = "done" if done and number == len(seconds) else "time_limit"
            ended = {**line, "event": "end", "reason": reason, "seconds": taken_s}
            append_json_line(root / "attempts.jsonl", ended)
        if seconds:
            os.utime(root / "attempts.jsonl", (LONG_AGO, LONG_AGO))
        if done:
            write_json(root / "result.json", {"state": "done"})
        return root

    return add


def slurm_says(tmp_path, monkeypatch, **commands):
    """SLURM's commands as scripts; those that are not named are missing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, lines in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(
        "shutil.which", lambda name: str(folder / name) if (folder / name).exists() else None
    )


def test_ended_runs_have_used(runs_root, add_run):
    add_run("1", 1800.0)
    add_run("2", 1800.0, 900.0, nodes=2)
    add_run("3", 900.0, backend="local")

    spent = spent_in(runs_root)

    assert (spent.used, spent.reserved, spent.under_way) == (1.0 + 3.0, 0.0, 0)


def test_waiting_and_running_runs_reserve(runs_root, add_run):
    add_run("1", done=False)
    running = add_run("2", 1800.0, done=False)
    start = {"event": "start", "attempt": 2, "time": time.time(), "node": "n"}
    append_json_line(running / "attempts.jsonl", start)

    spent = spent_in(runs_root)

    assert (spent.used, spent.reserved, spent.under_way) == (1.0, 4.0, 2)


def test_cancelled_run_reserves_nothing(runs_root, add_run):
    (add_run("1", done=False) / "cancelled").touch()

    assert spent_in(runs_root).reserved == 0.0


def test_refusal_says_all_figures(runs_root, add_run, cluster):
    add_run("1", 3600.0 * 4)
    require_budget(cluster, runs_root, 2.0)

    with pytest.raises(UserError) as refused:
        require_budget(cluster, runs_root, 2.5)

    message = str(refused.value)
    assert "c.yaml:4: budget_gpu_hours: 10 GPU-hours are allowed, 8 are used" in message
    assert "0 are reserved by 0 runs under way, and 2.5 are asked for" in message
    assert "ask for a shorter time or fewer trials" in message
    assert "--set cluster.budget_gpu_hours=11" in message


def test_jobs_without_gpus_are_free(runs_root, add_run, cluster):
    add_run("1", 3600.0 * 40)

    require_budget(cluster, runs_root, 0.0)


def test_no_budget_no_limit(tmp_path, runs_root, add_run):
    add_run("1", 3600.0 * 40)
    path = tmp_path / "d.yaml"
    path.write_text(PROFILE.replace("budget_gpu_hours: 10\n", ""))

    require_budget(load_cluster(str(path)), runs_root, 100.0)


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_budget_must_be_positive(tmp_path, value):
    path = tmp_path / "d.yaml"
    path.write_text(PROFILE.replace("budget_gpu_hours: 10", f"budget_gpu_hours: {value}"))

    with pytest.raises(ClusterError, match="budget_gpu_hours"):
        load_cluster(str(path))


def test_slurm_knows_that_a_job_is_gone(tmp_path, monkeypatch, runs_root, add_run, cluster):
    """Its files say that it waits, and hold 2 GPU-hours; SLURM is asked before a refusal."""
    add_run("1", done=False)
    add_run("2", 3600.0 * 4)
    gone = "echo '7|CANCELLED by 0|None'"
    slurm_says(tmp_path, monkeypatch, sbatch="", squeue="exit 0", sacct=gone)

    require_budget(cluster, runs_root, 1.0)


def test_job_that_waits_keeps_its_part(tmp_path, monkeypatch, runs_root, add_run, cluster):
    add_run("1", done=False)
    add_run("2", 3600.0 * 4)
    waits = "echo '7|PENDING|Priority||N/A'"
    slurm_says(tmp_path, monkeypatch, sbatch="", squeue=waits)

    with pytest.raises(UserError, match="2 are reserved by 1 run under way"):
        require_budget(cluster, runs_root, 1.0)


def test_ended_runs_are_read_once(runs_root, add_run, monkeypatch):
    root = add_run("1", 1800.0)
    before = holdings(runs_root)
    (root / "plan.json").unlink()

    assert [holding.used for holding in holdings(runs_root)] == [1.0]
    assert holdings(runs_root) == before


def test_resumed_run_is_read_again(runs_root, add_run):
    root = add_run("1", 1800.0)
    assert spent_in(runs_root).reserved == 0.0
    append_json_line(root / "attempts.jsonl", {"event": "resumed", "time": LONG_AGO})
    (root / "result.json").unlink()

    spent = spent_in(runs_root)

    assert (spent.used, spent.reserved) == (1.0, 2.0)


@pytest.mark.parametrize("content", ["", "[]", '{"a/1": 7}', '{"a/1": ["x", 1, 2]}', "{"])
def test_damaged_memory_is_made_again(runs_root, add_run, content):
    add_run("1", 1800.0)
    holdings(runs_root)
    (memory,) = (runs_root / ".index").glob("gpu-hours-*.json")
    memory.write_text(content)

    assert spent_in(runs_root).used == 1.0
    assert json.loads(memory.read_text())["a/1"][2] == 1.0


def test_removed_run_counts_no_more(runs_root, add_run):
    root = add_run("1", 1800.0)
    assert spent_in(runs_root).used == 1.0
    root.rename(runs_root.parent / "moved")

    assert spent_in(runs_root).used == 0.0


@pytest.fixture
def make_sweep(runs_root):
    """A sweep of 10 trials, 4 of them ended after half an hour each, in 3 tasks of 2 GPUs."""

    def make(**settings):
        paths = SweepPaths(runs_root / "s" / "1")
        for folder in (paths.root, paths.tasks, paths.claims, paths.open, paths.trials):
            folder.mkdir(parents=True)
        write_json(paths.root / "manifest.json", {"created": LONG_AGO})
        write_json(paths.root / "plan.json", PLAN)
        wanted: dict[str, Any] = {"trials": 10, "gpus": 2, **settings}
        over = {"train.seed": [1, 2]}
        SweepSettings(
            name="s", over=over, method="random", metric="loss", direction="minimize", **wanted
        ).write(paths)
        array = SentArray(job_id="9", tasks=3, at_once=3, sent=LONG_AGO)
        submitted = SweepSubmitted(backend="slurm", cluster="c", time=LONG_AGO, arrays=[array])
        submitted.write(paths)
        for number in range(4):
            ended = {"event": "end", "trial": number, "state": "done", "turn": 1, "task": "9_0"}
            figures = {"value": 0.5, "epoch": 1, "epochs": 1, "seconds": 1800.0, "params": {}}
            append_json_line(paths.task_log("9_0"), {**ended, **figures, "time": LONG_AGO})
        return paths

    return make


def test_sweep_counts_its_trials(runs_root, make_sweep):
    make_sweep()

    spent = spent_in(runs_root)

    assert (spent.used, spent.reserved, spent.under_way) == (4.0, 6.0, 1)


def test_sweep_ends_at_its_own_limit(runs_root, make_sweep):
    make_sweep(gpu_hours=5.0)

    assert spent_in(runs_root).reserved == 1.0


def test_ended_sweep_reserves_nothing(runs_root, make_sweep):
    make_sweep(trials=4)

    assert spent_in(runs_root).reserved == 0.0


def test_shared_gpus_count_once(runs_root, make_sweep):
    make_sweep(trials_per_gpu=2)

    assert spent_in(runs_root).used == 2.0


def test_submit_makes_no_folder(tmp_path, monkeypatch, runs_root, add_run, cluster, write_job):
    """Without the checks it is refused, too, before anything is made."""
    slurm_says(tmp_path, monkeypatch, sbatch="exit 1", squeue="exit 0")
    add_run("1", 3600.0 * 4.5)
    job = load_job(write_job("name: b\nscript: a.py\nresources: {gpus: 2}\n", a__py=""))
    prepared = prepare(job, cluster, runs_dir=str(runs_root))
    assert asked_gpu_hours(prepared.plan) == 2.0

    with pytest.raises(UserError, match="9 are used"):
        submit(prepared)

    assert not (runs_root / "b").exists()
    (finding,) = gpu_budget(Subject(prepared, cluster))
    assert finding.blocks
    assert finding.key == "budget_gpu_hours"
