"""`hpcdl clean --kind`: what of each kind goes and what stays, of runs, sweeps and old code; and kills in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hpcdl.run import Run
from hpcdl.run.cleaning import KINDS, removal
from hpcdl.sweeps.events import Claimed, Ended, append_event
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings

HOUR_S = 3600.0
# Removes a run's spare files as the command does, and kills itself at one of the file operations
REMOVE_AND_DIE = """
import os, signal, sys
from hpcdl.run import Run
from hpcdl.run.cleaning import KINDS, removal, remove
run, last, everything = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "all"
what = removal(Run(run), checkpoints_only=everything, kinds=() if everything else KINDS)
assert not what.kept, what.kept
count = 0

def hook(event, args):
    global count
    if event in ("os.remove", "os.rename", "os.rmdir", "shutil.rmtree"):
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
remove(what)
"""


def write_all(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(20_000))


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(name="a", state="done", sha="aaaa"):
        root = tmp_path / "runs" / name / "20260101-1200-aaaa"
        write_all(
            root,
            (
                *("checkpoints/00000001.npz", "checkpoints/00000002.npz", "features.npz"),
                *("folds/1/checkpoints/9.npz", "folds/1/checkpoints/10.npz"),
                *("logs/1.log", "logs/2.log", "logs/2.tensorflow.log", "home/.cache/x/y"),
                *("model/model.keras", "home/own.txt", "predictions.npz"),
            ),
        )
        code = {"sha256": sha, "folder": str(tmp_path / "runs/.code" / sha)}
        (root / "manifest.json").write_text(json.dumps({"created": 1.0, "code": code}))
        (root / "plan.json").write_text("{}")
        (root / "run.json").write_text("{}")
        (root / "submitted.json").write_text('{"backend": "local", "host": "elsewhere", "time": 1}')
        lines = [{"event": "start", "attempt": 1, "time": 1.0}]
        if state in ("done", "failed"):
            lines.append({"event": "end", "attempt": 1, "time": 2.0, "reason": state})
            (root / "result.json").write_text(json.dumps({"state": state, "attempts": []}))
        (root / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return root

    return make


def left(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def kinds_words(*kinds):
    return [word for kind in kinds or KINDS for word in ("--kind", kind)]


def test_spare_files_of_done_run_go(cli, make_run):
    run = make_run()
    before = left(run)
    assert cli("clean", *kinds_words()).code == 0
    assert left(run) == before, "only shown"
    assert cli("clean", run, *kinds_words(), "--yes").code == 0
    assert before - left(run) == {
        "checkpoints/00000001.npz", "folds/1/checkpoints/9.npz", "features.npz",
        "logs/1.log", "logs/2.tensorflow.log", "home/.cache/x/y",
    }  # fmt: skip
    assert cli("status", run).code == 0


def test_failed_run_keeps_what_resume_needs(cli, make_run):
    run = make_run(state="failed")
    answer = cli("clean", run, *kinds_words(), "--yes")
    assert "its newest checkpoint stays, for hpcdl resume" in answer.out
    assert {"features.npz", "checkpoints/00000002.npz", "logs/2.log"} <= left(run)
    assert "checkpoints/00000001.npz" not in left(run)


def test_living_run_keeps_everything(cli, make_run):
    run = make_run(state="running")
    before = left(run)
    answer = cli("clean", run, *kinds_words(), "--yes")
    assert answer.code == 1
    assert "it is running" in answer.out
    assert left(run) == before


def test_largest_run_comes_first(cli, make_run):
    make_run("small")
    write_all(make_run("large"), ["model/more"])
    lines = cli("clean").out.splitlines()
    assert [line.split()[0].partition("/")[0] for line in lines] == ["RUN", "large", "small", "all"]
    assert lines[0].split()[2:] == ["SIZE", *(kind.upper() for kind in KINDS), "NOTE"]


def test_code_without_runs_goes(cli, make_run, tmp_path):
    make_run(sha="used")
    old = time.time() - 2 * HOUR_S
    for sha, changed in (("used", old), ("unused", old), ("young", time.time())):
        folder = tmp_path / "runs/.code" / sha
        write_all(folder, ["hpcdl/__init__.py"])
        os.utime(folder, (changed, changed))
    write_all(tmp_path / "runs/a/.b.removed", ["x"])
    assert "(2 folders): --kind code --yes removes it" in cli("clean").err
    assert cli("clean", "--kind", "code", "--yes").code == 0
    assert sorted(os.listdir(tmp_path / "runs/.code")) == ["used", "young"]
    assert not (tmp_path / "runs/a/.b.removed").exists()


def test_sweep_keeps_best_and_running(cli, make_run):
    """Of 4 trials: the best one's model, and all of the trial that runs and the one that failed."""
    sweep = SweepPaths(make_run("s"))
    for folder in (sweep.tasks, sweep.claims, sweep.open):
        folder.mkdir()
    settings = SweepSettings(
        name="s",
        over={"args.x": "1|2|3|4"},
        method="grid",
        metric="accuracy",
        direction="maximize",
        trials=4,
        keep=1,
    )
    settings.write(sweep)
    values = {0: 0.5, 1: 0.9, 2: None, 3: None}
    for number, value in values.items():
        write_all(sweep.trial(number), ("checkpoints/1.npz", "checkpoints/2.npz", "model/m"))
        sweep.claim(number).symlink_to("1_1")
        append_event(sweep.task_log("1_1"), Claimed(number, {}, "1_1", 1, 1.0))
        if number == 3:
            continue
        end = Ended(number, "done", value, 1, 1, 1.0, {}, "1_1", 1, 2.0)
        if value is None:
            end = Ended(number, "failed", None, None, 1, 1.0, {}, "1_1", 1, 2.0)
        append_event(sweep.task_log("1_1"), end)
    assert "it is a sweep" in cli("clean", sweep.root).out
    assert cli("clean", sweep.root, *kinds_words("checkpoints", "models"), "--yes").code == 0
    assert left(sweep.trials) == {
        "00001/model/m",
        *("00002/checkpoints/2.npz", "00002/model/m"),
        *("00003/checkpoints/1.npz", "00003/checkpoints/2.npz", "00003/model/m"),
    }


@pytest.mark.parametrize("what", ["kinds", "all"])
def test_killed_removal_leaves_run_usable(cli, make_run, what):
    """Killed at each of its file operations in turn, and then done to the end."""
    run = make_run()
    for last in range(1, 40):
        argv = [sys.executable, "-c", REMOVE_AND_DIE, str(run), str(last), what]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert Run(run).status().state == "done"
        assert cli("result", run).code == 0
        assert cli("report", run).code == 0
        if done.returncode == 0:
            break
    assert last > 3, "it was killed"
    assert cli("clean", "--kind", "code", "--yes").code == 0
    assert not list(run.rglob(".*.removed"))
    assert not removal(Run(run), what == "all", () if what == "all" else KINDS).places
