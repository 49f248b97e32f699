"""The user's command at a run's end: once for each end, bounded, and never in the run's way."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.launch.notify import notify_end, notify_of_old_end
from hpcdl.planfile import from_json, to_json
from hpcdl.planning import Notify
from hpcdl.planning import plan as decide
from hpcdl.run.logs import last_output
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.process_start import process_start
from hpcdl.sweeps.folder import SweepPaths

NOTE = """
import json, os, sys
seen = {key: value for key, value in os.environ.items() if key.startswith("HPCDL_")}
with open(sys.argv[1], "a") as stream:
    stream.write(json.dumps([seen, sys.argv[2:], "PYTHONPATH" in os.environ]) + "\\n")
"""


def noting(folder, *words):
    """A command that writes down what it gets."""
    (folder / "note.py").write_text(NOTE)
    return [sys.executable, str(folder / "note.py"), str(folder / "noted"), *words]


def noted(folder):
    path = folder / "noted"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def plan(write_job):
    """Makes a plan with a command."""
    job = load_job(write_job("name: a\nscript: a.py\nresources: {gpus: 0}\n", a__py=""))
    usual = decide(job, load_cluster("local"))

    def with_command(command, timeout_s=30):
        return replace(usual, notify=Notify(command, timeout_s))

    return with_command


@pytest.fixture
def run(tmp_path):
    paths = RunPaths(tmp_path / "runs/a/1")
    paths.logs.mkdir(parents=True)
    paths.log(1).write_text("the last words\n")
    paths.attempts.write_text('{"event": "start", "attempt": 1}\n')
    return paths


def test_real_run_notifies_once(machine, tmp_path):
    """With argv as it is, and neither shell nor quoting in between."""
    command = noting(tmp_path, "$(touch pwned)", "a b", "")
    run = machine.submit("print('hi')", "--wait", notify={"command": command})
    run.until(lambda: not run.alive())
    seen, argv, has_path = noted(tmp_path)[0]
    assert len(noted(tmp_path)) == 1
    assert argv == ["$(touch pwned)", "a b", ""]
    assert (seen["HPCDL_RUN"], seen["HPCDL_STATE"], seen["HPCDL_CAUSE"]) == (
        str(run.path), "done", "",
    )  # fmt: skip
    assert seen["HPCDL_MESSAGE"].endswith("is done")
    assert not has_path
    assert not list(tmp_path.rglob("pwned"))


def test_failure_has_cause_and_message(machine, tmp_path):
    run = machine.submit("raise ValueError('no luck')", notify={"command": noting(tmp_path)})
    run.until(lambda: noted(tmp_path))
    seen = noted(tmp_path)[0][0]
    assert (seen["HPCDL_STATE"], seen["HPCDL_CAUSE"]) == ("failed", "user_code")
    assert "\n" not in seen["HPCDL_MESSAGE"]
    assert " is failed: " in seen["HPCDL_MESSAGE"]


def test_cancelled_run_notifies(machine, tmp_path):
    run = machine.submit(
        "import time\nprint('on', flush=True)\ntime.sleep(60)", notify={"command": noting(tmp_path)}
    )
    run.until_log("on")
    assert machine.hpcdl("cancel", run.path).returncode == 0
    run.until(lambda: not run.alive())
    assert [row[0]["HPCDL_STATE"] for row in noted(tmp_path)] in (["cancelled"], [])


def test_same_end_is_not_told_twice(run, plan, tmp_path):
    """A resumed run's next end is another one."""
    plan = plan(noting(tmp_path))
    run.result.write_text('{"state": "failed", "cause": "data", "message": "m", "attempts": []}')
    notify_end(run, plan, "failed", "data", "m")
    notify_of_old_end(run, plan)
    assert len(noted(tmp_path)) == 1
    with run.attempts.open("a") as stream:
        stream.write('{"event": "resumed", "time": 1}\n')
    notify_end(run, plan, "done", None, None)
    assert [row[0]["HPCDL_STATE"] for row in noted(tmp_path)] == ["failed", "done"]


def test_killed_before_it_is_made_up_for(run, plan, tmp_path):
    run.result.write_text('{"state": "done", "cause": null, "attempts": []}')
    notify_of_old_end(run, plan(noting(tmp_path)))
    assert noted(tmp_path)[0][0]["HPCDL_STATE"] == "done"


def test_endless_command_is_killed(run, plan, tmp_path):
    """With what it has started; the run's log says so, and what a script printed last stays so."""
    program = 'echo working; sleep 300 & echo "$$ $!" >"$0"; wait'
    began = time.monotonic()
    command = ["bash", "-c", program, str(tmp_path / "pids")]
    notify_end(run, plan(command, timeout_s=10), "done", None, None)
    assert time.monotonic() - began < 250, "it did not wait for the sleep of 300 s"
    for pid in (tmp_path / "pids").read_text().split():
        assert process_start(int(pid)) is None
    assert "working\nhpcdl: " in run.log(1).read_text()
    assert "was ended after 10 s" in run.log(1).read_text()
    assert last_output(run) == ["the last words"]


@pytest.mark.parametrize(
    "command", [["/no/such/program"], ["false"], [sys.executable, "-c", "print('x' * 200000)"]]
)
def test_bad_command_harms_nothing(run, plan, command):
    notify_end(run, plan(command), "done", None, None)
    assert run.log(1).stat().st_size < 100_000


def test_sweep_notifies_once_trials_never(tmp_path, plan):
    sweep = SweepPaths(tmp_path / "sweep")
    trial = TrialPaths(sweep.trial(1))
    trial.root.mkdir(parents=True)
    plan = plan(noting(tmp_path))
    notify_end(trial, plan, "done", None, None)
    for _ in range(2):
        notify_end(sweep, plan, "done", None, "the best has 0.9")
    assert [row[0]["HPCDL_RUN"] for row in noted(tmp_path)] == [str(sweep.root)]
    assert noted(tmp_path)[0][0]["HPCDL_MESSAGE"].endswith("is done: the best has 0.9")


def test_plan_of_0_2_has_no_command(plan):
    content = to_json(plan(["true"]))
    assert from_json(content, {}).notify.command == ["true"]
    del content["notify"]
    assert from_json(content, {}).notify == Notify()
