"""Sweeps and many runs in ``hpcdl status`` and ``hpcdl wait``."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.run.process_start import process_start
from hpcdl.sweeps.events import Claimed, Ended, append_event
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings

LONG_AGO = 1.7e9
SWEEP_ID = "20260101-1200-swee"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class MadeSweep:
    """A sweep's folder, of which a worker on this machine has begun trials."""

    def __init__(self, root: Path, trials: int = 8, **settings: Any) -> None:
        self.paths = SweepPaths(root)
        for path in (self.paths.tasks, self.paths.claims, self.paths.open, self.paths.trials):
            path.mkdir(parents=True)
        fields: dict[str, Any] = {
            "over": {"model.dropout": "0..1"},
            "method": "random",
            "metric": "val_accuracy",
        }
        made = SweepSettings(
            name="a", direction="maximize", trials=trials, gpus=2, **{**fields, **settings}
        )
        made.write(self.paths)
        write_json(root / "manifest.json", {"created": LONG_AGO})
        write_json(root / "plan.json", {})
        self.sent_by(os.getpid())

    def sent_by(self, pid: int) -> None:
        """Say that a worker was started here, which is this very process."""
        worker = {"pid": pid, "pid_start": process_start(os.getpid()), "host": socket.gethostname()}
        array = {"job_id": None, "tasks": 1, "at_once": 1, "sent": LONG_AGO, **worker}
        sent = {"backend": "local", "cluster": "local", "time": LONG_AGO, "arrays": [array]}
        write_json(self.paths.submitted, sent)

    def trial(self, number: int, state: Any = "running", value=None, cause=None) -> Path:
        params = {"model.dropout": number / 10}
        self.paths.claim(number).symlink_to("local_0")
        self.paths.trial(number).mkdir()
        log = self.paths.task_log("local_0")
        append_event(log, Claimed(number, params, "local_0", 1, LONG_AGO))
        if state != "running":
            end = Ended(number, state, value, 3, 5, 1800.0, params, "local_0", 1, LONG_AGO + number)
            append_event(log, end)
            result = {"state": state, "value": value, "cause": cause, "attempts": []}
            write_json(self.paths.result(number), {**result, "message": f"why {cause}"})
        return self.paths.trial(number)


@pytest.fixture
def sweep(folder):
    """A sweep of 8: 2 done, 1 pruned, 3 failed, 1 that runs, 1 to come."""
    made = MadeSweep(folder / "runs" / "a" / SWEEP_ID)
    made.trial(0, "done", 0.5)
    made.trial(1, "done", 0.75)
    made.trial(2, "pruned", 0.25)
    made.trial(3, "failed", None, "out_of_memory")
    made.trial(4, "failed", None, "out_of_memory")
    made.trial(5, "failed", None, "user_code")
    made.trial(6)
    return made


def test_sweep_has_one_line(cli, sweep):
    (line,) = cli("status").out.splitlines()[1:]

    assert line.split()[:2] == [f"a/{SWEEP_ID}", "running"]
    assert "8 trials: 2 done, 1 pruned, 3 failed, 1 running, 1 queued" in line
    assert "best val_accuracy 0.7500 (trial 1)" in line
    assert "until about" in line


def test_named_sweep_shows_groups(cli, sweep):
    lines = cli("status", sweep.paths.root).out.splitlines()

    groups = {tuple(line.split()[:2]): line for line in lines[3:]}
    assert "2       3-4" in groups["failed", "out"]
    assert "why user_code" in groups["failed", "user"]
    best = lines[lines.index("", 3) + 1 :]
    assert [line.split()[0] for line in best[1:]] == ["1", "0"]
    assert "model.dropout=0.1" in best[1]


def test_trials_of_a_sweep_by_cause(cli, sweep):
    lines = cli("status", "swee", "--cause", "out of memory").out.splitlines()

    assert [line.split()[0] for line in lines[1:]] == [f"a/{SWEEP_ID}/3", f"a/{SWEEP_ID}/4"]


@pytest.mark.parametrize(
    "text", ["runs/a/{id}/1", "{id}/1", "swee/1", "./runs/a/{id}/trials/00001"]
)
def test_trial_is_shown_as_a_run(cli, sweep, text):
    start = {"event": "start", "attempt": 1, "time": LONG_AGO, "node": "n9"}
    trial = sweep.paths.trial(1)
    append_json_line(trial / "attempts.jsonl", start)
    append_json_line(trial / "attempts.jsonl", {**start, "event": "end", "time": LONG_AGO + 61})

    answer = cli("status", text.format(id=SWEEP_ID))

    assert answer.out.splitlines()[1].split()[:2] == [f"a/{SWEEP_ID}/1", "done"], answer.err
    assert "1:01" in answer.out


def test_causes_find_sweeps_too(cli, sweep):
    assert SWEEP_ID in cli("status", "--cause", "user_code").out
    assert cli("status", "--cause", "data").err.startswith("no run fits")


def test_sweep_as_json(cli, sweep):
    (content,) = json.loads(cli("status", "--json").out)

    assert content["kind"] == "sweep"
    assert content["trials"]["failed"] == 3
    assert content["best"] == {"trial": 1, "value": 0.75, "params": {"model.dropout": 0.1}}
    assert content["gpu_hours"] >= 6 * 0.5 * 2


def test_used_budget_of_gpu_hours(cli, folder):
    sweep = MadeSweep(folder / "runs" / "a" / SWEEP_ID, gpu_hours=1.0)
    sweep.trial(0, "done", 0.5)

    line = cli("status").out.splitlines()[1]

    assert line.split()[1] == "done"
    assert "1.0 of 1 GPU-hours" in line


def test_sweep_without_workers_is_lost(cli, sweep):
    sweep.sent_by(1)  # another process than the one that was started

    line = cli("status").out.splitlines()[1]

    assert line.split()[1] == "lost"
    assert "1 lost, 1 queued" in line
    assert "hpcdl retry" in line


def test_offered_trial_waits(cli, sweep):
    sweep.paths.offer(3).touch()

    assert "2 failed, 1 running, 1 requeued, 1 queued" in cli("status").out


def test_offered_trial_is_requeued(cli, sweep):
    """As a run, too, and whatever its last attempt says."""
    sweep.paths.offer(3).touch()

    line = cli("status", sweep.paths.root / "3").out.splitlines()[1]

    assert line.split()[1] == "requeued"
    assert "the next free task of the sweep goes on with it" in line


def test_result_tells_a_missing_end(cli, sweep):
    """A worker died between a trial's result and the log's line about it."""
    write_json(sweep.paths.result(6), {"state": "done", "value": 0.875, "epochs": 5})

    assert "3 done" in cli("status").out
    assert "best val_accuracy 0.8750 (trial 6)" in cli("status").out


def test_damaged_sweep_does_not_hide_others(cli, sweep, folder):
    other = MadeSweep(folder / "runs" / "b" / SWEEP_ID)
    other.trial(0, "done", 0.5)
    sweep.paths.sweep.write_text("{")

    answer = cli("status")

    assert answer.code == 0
    assert "is missing or damaged" in answer.out
    assert f"b/{SWEEP_ID}" in answer.out


def test_second_look_reads_only_what_is_new(cli, sweep):
    cli("status")
    assert sweep.paths.index.exists()
    sweep.trial(7, "done", 0.9375)

    assert "best val_accuracy 0.9375 (trial 7)" in cli("status").out


# logs


def test_logs_of_a_trial_follow_its_attempts(sweep):
    """The next attempt, which another task runs, has the next log."""
    trial = sweep.paths.trial(6)
    start = {"event": "start", "attempt": 1, "time": LONG_AGO, "node": "n1"}
    append_json_line(trial / "attempts.jsonl", start)
    (trial / "1.log").write_text("one\n")
    argv = [sys.executable, "-m", "hpcdl", "logs", "-f", f"a/{SWEEP_ID}/6"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == "one\n"
        end = {**start, "event": "end", "reason": "requeued"}
        append_json_line(trial / "attempts.jsonl", end)
        append_json_line(trial / "attempts.jsonl", {**start, "attempt": 2})
        (trial / "2.log").write_text("two\n")
        assert logs.stdout.readline() == "== 2.log ==\n"
        assert logs.stdout.readline() == "two\n"
        write_json(trial / "result.json", {"state": "done", "attempts": []})
        append_json_line(trial / "attempts.jsonl", {**end, "attempt": 2, "reason": "done"})
        assert logs.stdout.read() == ""

    assert logs.returncode == 0


def test_sweep_has_no_log_of_its_own(cli, sweep):
    answer = cli("logs", sweep.paths.root)

    assert answer.code == 2
    assert "give one of its trials" in answer.err


# wait


def test_wait_for_several(cli, sweep, folder):
    for number, state in ((1, "done"), (2, "failed")):
        run = folder / "runs" / "b" / f"20260101-1200-000{number}"
        run.mkdir(parents=True)
        write_json(run / "manifest.json", {"created": LONG_AGO})
        write_json(run / "submitted.json", {"backend": "local", "time": LONG_AGO})
        append_json_line(run / "attempts.jsonl", {"event": "end", "attempt": 1, "time": LONG_AGO})
        write_json(run / "result.json", {"state": state, "cause": "data", "attempts": []})
    finished = MadeSweep(folder / "runs" / "c" / SWEEP_ID, trials=1)
    finished.trial(0, "done", 0.5)

    both = cli("wait", "b/*", f"c/{SWEEP_ID}")
    one = cli("wait", "*0001", "c")

    assert (both.code, one.code) == (1, 0)
    assert "b/20260101-1200-0002: failed, data" in both.err
    assert both.err.splitlines()[-1] == "ended: 2 done, 1 failed"
    assert cli("wait", "b").code == 2, "it fits two, and is not a pattern"


def test_wait_for_a_sweep(cli, folder):
    sweep = MadeSweep(folder / "runs" / "a" / SWEEP_ID, trials=1)
    sweep.trial(0, "done", 0.5)
    sweep.sent_by(1)

    answer = cli("wait", sweep.paths.root)

    assert answer.code == 0, answer.err
    assert "best: trial 0" in answer.err
