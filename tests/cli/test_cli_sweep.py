"""``hpcdl sweep``: a sweep on this machine from its start to its winner, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hpcdl.cli.sweep_lines import trial_line
from hpcdl.cli.sweep_watching import follow_sweep
from hpcdl.job import load_job
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import TrialState
from tests.sweeps.finished import end, make_finished

SCRIPT = """\
import json, os, sys
rate = float(sys.argv[sys.argv.index("--rate") + 1])
with open(os.environ["HPCDL_METRICS_FILE"], "a") as file:
    for epoch in (1, 2):
        print(json.dumps({"epoch": epoch, "val_loss": abs(rate - 0.2) / epoch}), file=file)
"""
JOB = """\
name: tune
script: train.py
args: [--rate, "1"]
resources: {gpus: 0, time: "00:05:00"}
sweep:
  over: {args.rate: [0.1, 0.2, 0.4]}
  method: grid
  metric: val_loss
"""
PROFILE = """\
name: site
node: {cpus: 4, gpus: 2, memory_gb: 16}
gpu_request: gres
images: {tensorflow: /nowhere/tensorflow.sif}
runs_root: RUNS
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a job and a profile, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "site.yaml").write_text(PROFILE.replace("RUNS", str(tmp_path / "runs")))
    return tmp_path


@pytest.fixture
def finished(folder):
    return make_finished(folder / "runs" / "digits-cnn" / "20260101-1200-aaaa")


def hpcdl(*argv: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "hpcdl", *map(str, argv)],
        capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip


def wait_for_ends(paths: SweepPaths, count: int) -> None:
    """Wait until that many trials have a result."""
    deadline = time.time() + 120
    while len(list(paths.trials.glob("*/result.json"))) < count and time.time() < deadline:
        time.sleep(0.2)
    assert len(list(paths.trials.glob("*/result.json"))) == count


def test_sweep_from_start_to_winner(folder):
    done = hpcdl("sweep", "job.yaml", "--backend", "local", "--runs-dir", "runs", "--wait")

    assert done.returncode == 0, done.stderr
    (sweep,) = done.stdout.split()
    assert "3 trials of tune: grid by val_loss, the lowest is best\n" in done.stderr
    assert "\nended: 3 done\n" in done.stderr
    assert "\nbest: trial 1  done  val_loss 0.0000  rate 0.2  " in done.stderr

    best = hpcdl("sweep", "best", sweep)
    (folder / "best.yaml").write_text(best.stdout)
    assert load_job("best.yaml").args == ["--rate", "0.2"]

    export = hpcdl("sweep", "export", sweep, "--csv", "t.csv", "--optuna", "o.log")
    assert export.stderr == "written: t.csv, 3 trials\nwritten: o.log, 3 trials\n"
    assert len((folder / "t.csv").read_text().splitlines()) == 4

    more = hpcdl("sweep", "more", sweep, "--trials", "1")
    assert (more.returncode, more.stdout) == (2, "")
    assert "has 3 trials, and its space has 3 combinations" in more.stderr


def test_pruned_trial_is_over(folder, monkeypatch):
    monkeypatch.setenv("HPCDL_SAMPLE_S", "0.2")
    script = Path(__file__).parents[1] / "testbed" / "sweep_script.py"
    (folder / "train.py").write_text(script.read_text())
    job = yaml.safe_load(JOB)
    job["args"] += ["--epochs", "4", "--seconds", "0.6"]
    job["sweep"] = {"over": {"args.rate": "0.1..1.0"}, "metric": "score", "direction": "maximize"}
    job["sweep"] |= {"method": "asha", "first": 1, "eta": 2, "trials": 4}
    (folder / "job.yaml").write_text(json.dumps(job))

    done = hpcdl("sweep", "job.yaml", "--backend", "local", "--runs-dir", "runs", "--wait")

    assert done.returncode == 0, done.stderr
    paths = SweepPaths(Path(done.stdout.strip()))
    results, sampled_s = [], 0.0
    for trial in sorted(paths.trials.iterdir()):
        assert not (trial / "stop").exists()
        assert not (trial / "devices.jsonl").exists()
        result = json.loads((trial / "result.json").read_text())
        results.append(result["state"])
        sampled_s += result["timing"].get("sampled_s", 0.0)
    assert sampled_s > 0
    assert results.count("pruned") >= 1
    assert not paths.offered_numbers()


def test_trials_are_added_to_stopped_sweep(folder):
    argv = (
        "--over",
        "args.rate=0.1..0.4",
        "--method",
        "random",
        "--trials",
        "1",
        "--backend",
        "local",
    )
    done = hpcdl("sweep", "job.yaml", *argv, "--runs-dir", "runs", "--wait")
    assert done.returncode == 0, done.stderr
    paths = SweepPaths(Path(done.stdout.strip()))

    first, second = hpcdl("sweep", "stop", paths.root), hpcdl("sweep", "stop", paths.root)
    assert first.stderr.startswith("stopped: ")
    assert second.stderr.startswith("nothing to stop: ")
    more = hpcdl("sweep", "more", paths.root, "--trials", "2")

    assert more.stderr == f"{paths.root} has 3 trials now\n"
    wait_for_ends(paths, 3)


def test_dry_run_shows_script_and_size(cli, folder):
    over = ("--over", "args.rate=log:0.01..1", "--method", "random", "--trials", "20")

    answer = cli(
        "sweep", "job.yaml", *over, "-c", "site.yaml", "--gpus", "1", "--at-once", "4", "--dry-run"
    )

    assert answer.code == 0
    assert answer.out.startswith("#!/bin/bash")
    assert "hpcdl.launch.sweep_worker" in answer.out
    assert answer.err.splitlines() == [
        "20 trials of tune: random by val_loss, the lowest is best",
        "4 tasks, 4 at once, up to 00:05:00 each: up to 0.33 GPU-hours in one go",
        "a task goes on after its time limit, until no trial is left",
    ]
    assert sorted(os.listdir(folder)) == ["job.yaml", "site.yaml", "train.py"], "nothing is created"


def earlier_run(folder: Path, seconds: float) -> None:
    """A run of the job with one GPU, which took that long."""
    run = folder / "runs" / "tune" / "20260101-1200-aaaa"
    run.mkdir(parents=True)
    result = {"state": "done", "timing": {"total_s": seconds}, "cluster": {"backend": "slurm"}}
    (run / "result.json").write_text(json.dumps(result))
    plan = {"gpus": 1, "nodes": 1, "script": str(folder / "train.py")}
    (run / "plan.json").write_text(json.dumps(plan))


def test_earlier_runs_tell_the_cost(cli, folder):
    earlier_run(folder, seconds=3600)
    argv = ("sweep", "job.yaml", "-c", "site.yaml", "--gpus", "1", "--dry-run")

    enough = cli(*argv, "--gpu-hours", "2")
    too_few = cli(*argv, "--gpu-hours", "0.5")

    cost = "a trial takes about 1 h 0 min and 1 GPU-hours, by 1 earlier run"
    assert f"{cost}; all of them at most 3 GPU-hours\n" in enough.err
    assert (enough.code, too_few.code, too_few.out) == (0, 2, "")
    assert "expected at least 1: give --gpu-hours 1 or more" in too_few.err


def test_options_join_the_section(cli, folder):
    argv = (
        "--over",
        "args.layers=int:1..3",
        "--seed",
        "7",
        "--trials-per-gpu",
        "2",
        "--gpu-hours",
        "0.5",
    )
    answer = hpcdl(
        "sweep",
        "job.yaml",
        *argv,
        "--trials",
        "4",
        "--method",
        "random",
        "-c",
        "site.yaml",
        "--gpus",
        "1",
        "--dry-run",
    )

    assert answer.returncode == 0, answer.stderr
    assert "no trial begins after 0.5 GPU-hours" in answer.stderr
    assert "2 tasks, 2 at once" in answer.stderr


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ((), "Missing argument 'JOB'"),
        (("job.yaml", "--trials", "2"), "sweep.trials: the grid has 3 combinations"),
        (("job.yaml", "--over", "args.rate"), "expected KEY=SPACE, as model.dropout=0..0.6"),
        (("job.yaml", "--over", "args.rate=2..1"), "--set sweep.over.args.rate=2..1: sweep.over.args.rate: 2.0..1.0 begins"),
        (("job.yaml", "--over", "resources.gpus=1|2"), "all trials of a sweep have the same resources"),
        (("job.yaml", "--metric", "test_loss"), "is of the test set"),
        (("job.yaml", "--gpu-hours", "-1"), "sweep.gpu_hours: expected a number > 0"),
        (("job.yaml", "--method", "tpe"), "'tpe' is not one of 'random', 'grid'"),
        (("digits_cnn", "--backend", "local"), "the space is empty"),
        (("exprot", "x", "--csv", "t.csv"), "No such option"),
        (("bset", "x"), "no command 'bset'; did you mean best?"),
        (("best", "nothing"), "there is no run 'nothing'"),
        (("more", "nothing"), "Missing option '--trials'"),
        (("export", "nothing"), "give --csv FILE, --optuna FILE, or both"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_mistake_gives_one_message(cli, folder, argv, part):
    before = sorted(os.listdir(folder))
    backend = ("--backend", "local") if argv and "." in argv[0] else ()

    answer = cli("sweep", *argv, *backend)

    assert (answer.code, answer.out) == (2, "")
    assert part in answer.err
    assert sorted(os.listdir(folder)) == before


def test_job_called_best_is_a_file(cli, folder):
    (folder / "best.yaml").write_text(JOB.replace("tune", "as-a-job"))

    answer = cli("sweep", "./best.yaml", "-c", "site.yaml", "--dry-run")

    assert "3 trials of as-a-job" in answer.err
    assert "Missing argument 'SWEEP'" in cli("sweep", "best").err


def test_run_or_trial_is_not_a_sweep(cli, finished):
    run = finished.root.parent / "20260101-1300-bbbb"
    run.mkdir()
    (run / "manifest.json").write_text("{}")

    assert "is a run, not a sweep" in cli("sweep", "best", run).err
    answer = cli("sweep", "best", finished.trial(1))
    assert (answer.code, answer.out) == (2, "")
    assert f"{finished.root}\n" in answer.err


def test_sweep_is_named_by_its_id(cli, finished):
    answer = cli("sweep", "best", "aaaa", "--runs-dir", finished.root.parent.parent)

    assert answer.out.startswith("# The best of 6 trials")


def test_submit_trains_once_and_says_so(cli, folder):
    answer = cli("submit", "job.yaml", "-c", "site.yaml", "--dry-run")

    assert "hpcdl sweep JOB starts the sweep" in answer.err
    assert "sweep_worker" not in answer.out


def test_export_into_missing_folder(cli, finished):
    for option in ("--csv", "--optuna"):
        answer = cli("sweep", "export", finished.root, option, "nowhere/file")
        assert answer.code in (1, 2)
        assert "hpcdl: cannot write nowhere/file: " in answer.err


def test_nodes_python_must_have_optuna(cli, folder, monkeypatch):
    python = folder / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    sbatch = folder / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    sets = (
        "-s",
        f"cluster.host_python={python}",
        "--over",
        "args.rate=0.1..0.4",
        "--method",
        "bayes",
    )

    answer = cli("sweep", "job.yaml", *sets, "--trials", "3", "-c", "site.yaml")

    assert answer.code == 2
    assert f"{python} has none; install it with {python} -m pip install" in answer.err
    assert not (folder / "runs").exists()


def test_trial_that_has_not_begun(cli, finished):
    answer = cli("status", f"{finished.root}/77")

    assert (answer.code, answer.out) == (2, "")
    assert f"no such trial has begun; see: hpcdl status {finished.root}" in answer.err


def test_cost_of_an_edited_sweep_says_so(cli, finished):
    finished.sweep.write_text("{}")

    assert "nothing is counted of" in cli("cost", finished.root).out


def test_values_are_shown_as_written(finished):
    settings = SweepSettings.read(finished)
    params = {"args.a": None, "args.b": True, "args.c": " x", "args.d": "y\nz", "args.e": [1, "é"]}

    line = trial_line(TrialState(3, "failed", "7_0", 1, params), settings)

    assert line == 'trial 3  failed  a null  b true  c " x"  d y?z  e [1, "é"]  0:00'


def test_failures_say_where_to_look(finished, capsys):
    end(finished, 5, 0.1)

    follow_sweep(finished)

    assert f"why 1 trial failed: hpcdl status {finished.root}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("stop",), ("more", "--trials", "2")])
def test_somebody_elses_sweep_is_refused(cli, finished, monkeypatch, words):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    answer = cli("sweep", words[0], finished.root, *words[1:])

    assert answer.code == 2
    assert "run: only " in answer.err
    assert not finished.stop.exists()


def test_result_of_a_sweep_is_its_report(cli, finished):
    answer = cli("result", finished.root)

    assert (answer.code, answer.out) == (2, "")
    assert f"hpcdl report {finished.root} --text" in answer.err
    assert f"hpcdl result {finished.root}/0" in answer.err


def test_refused_retry_names_the_trials_log(cli, finished):
    result = {"state": "failed", "cause": "user_code", "value": None}
    finished.result(4).write_text(json.dumps(result))

    answer = cli("retry", finished.root, "--trial", "4")

    assert f"hpcdl logs {finished.root}/4 shows where" in answer.err


@pytest.mark.parametrize("metric", ["", " "])
def test_empty_metric_is_refused(folder, cli, metric):
    """A shell variable that is not set must not mean the default."""
    answer = cli("sweep", "job.yaml", "--metric", metric, "--backend", "local", "--dry-run")

    assert (answer.code, answer.out) == (2, "")
    assert "sweep.metric: is empty; expected a metric's name" in answer.err
