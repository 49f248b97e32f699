"""`hpcdl report` and `hpcdl compare` of a real sweep that ran on this machine, and of sweeps made by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcdl.report.page import report
from hpcdl.run import Run
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.state import SweepState
from tests.report import made
from tests.report.sweep_folders import sweep

TRIALS = 6
SCRIPT = """
import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
parser.add_argument("--kind")
args = parser.parse_args()
if args.kind == "bad":
    raise ValueError("no such kind: bad")
with open(os.environ["HPCDL_METRICS_FILE"], "a") as stream:
    for epoch in range(1, 4):
        stream.write(json.dumps({"epoch": epoch, "score": 1 - abs(args.rate - 0.3) - 1 / epoch}) + "\\n")
"""
START = """
from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.submission.sweep import prepare_sweep, send_sweep
from hpcdl.sweeps.settings import SweepSettings
job = load_job("fit.py", ["resources.gpus=0", "resources.time=00:05:00"], [])
over = {"args.kind": ["good", "bad"], "args.rate": [0.1, 0.3, 0.9]}
settings = SweepSettings(
    name=job.name, over=over, method="grid", metric="score", direction="maximize", trials=6, at_once=1
)
cluster = load_cluster("local", [], job)
print(send_sweep(prepare_sweep(job, cluster, settings, "local", "runs")).root)
"""


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory):
    """A grid of a script's arguments, run to its end by a worker of this machine."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "fit.py").write_text(SCRIPT)
    # In a process of its own, which ends while the sweep's worker goes on, as the command line's
    sent = subprocess.run(
        [sys.executable, "-c", START], cwd=folder, check=True, text=True, stdout=subprocess.PIPE
    )
    paths = SweepPaths(Path(sent.stdout.strip()))
    deadline = time.monotonic() + 300
    state = SweepState()
    while not all(state.has_ended(number) for number in range(TRIALS)):
        assert time.monotonic() < deadline, state.trials
        time.sleep(0.2)
        state.refresh(paths)
    return paths


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return lambda **changes: sweep(tmp_path, **changes)


def test_report_of_a_real_sweep(finished_sweep, cli):
    answer = cli("report", finished_sweep.root)

    assert answer.code == 0, answer.err
    assert answer.out.strip() == str(finished_sweep.root / "report.html")
    page = (finished_sweep.root / "report.html").read_text()
    assert "The best is trial 1: score 0.6667 at epoch 3, with kind good and rate 0.3." in page
    assert "user code: 3 trials" in page
    assert "ValueError: no such kind: bad" in page
    assert "score of 3 trials over epochs" in page
    assert "3 trials wrote no value of the metric." in page
    assert "a worker on " in page
    assert SCRIPT.splitlines()[2] in page  # the script, as it was sent


def test_report_goes_where_it_is_asked(finished_sweep, cli, tmp_path):
    target = tmp_path / "page.html"

    answer = cli("report", finished_sweep.root, "-o", target)

    assert answer.out.strip() == str(target)
    assert "Best trials" in target.read_text()


def test_brief_of_a_real_sweep(finished_sweep, cli):
    answer = cli("report", finished_sweep.root, "--text")

    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "The best is trial 1: score 0.6667 at epoch 3, with kind good and rate 0.3."
    assert lines[1] == "Of 6 trials: 3 done, 3 failed."
    table = lines[lines.index("BEST TRIALS") + 1 :][:4]
    assert table[0].split() == ["trial", "score", "epoch", "kind", "rate", "time"]
    values = [line.split()[:5] for line in table[1:]]
    assert values == [
        ["1", "0.6667", "3", "good", "0.3"],
        ["0", "0.4667", "3", "good", "0.1"],
        ["2", "0.0667", "3", "good", "0.9"],
    ]
    assert "FAILED: user code, trials 3-5" in lines


def test_text_is_for_sweeps(cli, tmp_path):
    run = made.training(tmp_path)

    answer = cli("report", run, "--text")

    assert answer.code == 2
    assert "is a run, and --text is for sweeps" in answer.err
    assert f"hpcdl result {run}" in answer.err


def test_compare_shows_best_trials(finished_sweep, cli):
    answer = cli("compare", finished_sweep.root)

    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split() == ["trial", "1", "trial", "0", "trial", "2"]
    rows = {line.split("  ")[0]: line.split()[1:] for line in lines if line}
    assert rows["args.rate"] == ["0.3", "0.1", "0.9"]
    assert rows["value in the sweep"][3:] == ["0.6667", "0.4667", "0.0667"]
    assert "args" not in rows  # each argument has its own line


def test_compare_takes_five_of_many(make, cli):
    run = make(trials=12, method="random", epochs=2)

    answer = cli("compare", run.paths.root, "--json")

    runs = json.loads(answer.out)
    values = [one["sweep_value"] for one in runs["runs"]]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
    best = [json.loads((run.paths.root / "trials" / "00000" / "result.json").read_text())["value"]]
    for number in range(1, 12):
        path = run.paths.root / "trials" / f"{number:05d}" / "result.json"
        best.append(json.loads(path.read_text())["value"])
    assert values == sorted(best, reverse=True)[:5]
    assert list(runs["differences"]) == [
        "model.filters",
        "model.dropout",
        "train.batch_size",
        "train.optimizer.learning_rate",
    ]


def test_compare_page_of_a_sweep(make, cli, tmp_path):
    run = make(trials=3, method="random", epochs=2)

    answer = cli("compare", run.paths.root, "--html", tmp_path / "compare.html")

    assert answer.code == 0, answer.err
    page = (tmp_path / "compare.html").read_text()
    assert page.count("<polyline") >= 3
    assert "train.optimizer.learning_rate" in page


def test_trials_of_two_sweeps_are_told_apart(tmp_path, monkeypatch, cli):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    folders = []
    for name in ("one", "two"):
        folders.append(sweep(tmp_path / name, trials=1, method="random", epochs=2).paths.root)
    renamed = folders[1].with_name("20251128-0320-bbbb")
    folders[1].rename(renamed)

    answer = cli("compare", folders[0], renamed)

    header = answer.out.splitlines()[0]
    assert header.split() == [
        *("mnist-sweep/…aaaa", "trial", "0"),
        *("mnist-sweep/…bbbb", "trial", "0"),
    ]


def test_compare_needs_a_trial_that_is_done(make, cli):
    run = make(trials=2, how={"only": 0})

    answer = cli("compare", run.paths.root)

    assert answer.code == 2
    assert "no trial of this sweep is done with a value of val_accuracy" in answer.err
    assert f"hpcdl report {run.paths.root} --text" in answer.err


def test_edited_settings_are_refused(make, cli):
    run = make(trials=1, method="random", epochs=2)
    path = run.paths.root / "sweep.json"
    path.write_text(path.read_text().replace('"trials": 1', '"trials": 9'))

    answer = cli("report", run.paths.root)

    assert answer.code == 1
    assert "sweep.json was edited" in answer.err


def test_trial_shows_its_parameters(make):
    """The page of one trial has the job with the trial's parameters, as it was trained."""
    run = make(trials=2, method="random", epochs=2)
    folder = run.paths.root / "trials" / "00001"
    params = json.loads((folder / "trial.json").read_text())["params"]

    page = report(Run(folder))

    assert f"dropout: {params['model.dropout']}" in page
    assert f"batch_size: {params['train.batch_size']}" in page


def test_trial_of_a_script_has_a_page(finished_sweep):
    page = report(Run(finished_sweep.trial(1)))

    assert "user/fit.py" in page
    assert SCRIPT.splitlines()[2] in page
