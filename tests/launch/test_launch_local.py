"""Script jobs on this machine: what the program gets, how it may end, and what can be done to it meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

DESCRIBE = """
import json, os, sys
print("to the log")
print("to the log too", file=sys.stderr)
seen = {"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "stdin": sys.stdin.read()}
keras = os.environ["KERAS_HOME"]
seen["links"] = {name: os.readlink(keras + "/datasets/" + name) for name in os.listdir(keras + "/datasets")}
seen["models"] = os.readlink(keras + "/models")
json.dump(seen, open("seen.json", "w"))
"""
WAIT = """
import os, sys, time
print("one", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print("two")
"""
ARGS = [
    "",
    " ",
    "a b",
    "it's",
    '"',
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "*",
    "\\",
    "two\nlines",
    "é名",
    "-x",
    "--",
    "%j",
]
ENV = {"PLAIN": "x", "QUOTED": 'it\'s "q" $HOME `id`; a=b, c\n\\', "EMPTY": "", "lower": "é"}


@pytest.fixture(scope="module")
def hostile_run(hostile_machine):
    """One run with every hostile name and value, looked at from several sides."""
    return hostile_machine.submit(DESCRIBE, "--wait", args=ARGS, env=ENV)


@pytest.fixture(scope="module")
def seen(hostile_run):
    return hostile_run.json("work/seen.json")


def test_hostile_run_is_done(hostile_run):
    result = hostile_run.json("result.json")

    assert (result["state"], result["cause"]) == ("done", None)
    assert result["script"] == {"file": "a.py", "args": ARGS}
    assert [row["reason"] for row in result["attempts"]] == ["done"]
    assert result["cluster"] == {"name": "local", "backend": "local", "emulate_gpus": False}
    assert sorted(hostile_run.log().splitlines()) == ["to the log", "to the log too"]


def test_arguments_unchanged(hostile_run, seen):
    assert seen["argv"] == [str(hostile_run.path / "user" / "a.py"), *ARGS]
    assert seen["stdin"] == ""


def test_environment_is_unchanged(hostile_run, seen):
    assert {name: seen["env"][name] for name in ENV} == ENV
    assert seen["env"]["HPCDL_STOP_FILE"] == str(hostile_run.path / "stop")
    assert seen["env"]["HPCDL_ATTEMPT"] == "1"


def test_own_working_directory(hostile_run, seen):
    assert seen["cwd"] == str(hostile_run.path / "work")


def test_home_links_to_data_root(hostile_run, seen, hostile_machine):
    home = hostile_run.path / "home"
    assert seen["env"]["HOME"] == str(home)
    assert seen["env"]["KERAS_HOME"] == str(home / ".keras")
    assert seen["env"]["HPCDL_DATA_ROOT"] == str(hostile_machine.folder / "data")
    staged = hostile_machine.folder / "data"
    assert seen["links"] == {path.name: str(path) for path in staged.iterdir()}
    assert seen["models"] == str(staged / "models")


def test_hostile_words_execute_nothing(hostile_run, hostile_machine):
    assert not list(hostile_machine.folder.parent.rglob("pwned"))
    assert sorted(path.name for path in hostile_run.path.iterdir()) == [
        "attempts.jsonl", "job.yaml", "logs", "manifest.json", "plan.json", "result.json",
        "submitted.json", "user", "work",
    ]  # fmt: skip


def test_finished_run_has_few_inodes(hostile_run):
    """A script that wrote a file into its working directory leaves 15 in all."""
    hostile_run.until(lambda: not hostile_run.alive())
    names = [str(path.relative_to(hostile_run.path)) for path in hostile_run.path.rglob("*")]
    assert 1 + len(names) <= 17, sorted(names)


def test_found_from_other_process(hostile_run, hostile_machine):
    status = hostile_machine.hpcdl("status", "--json", "--runs-dir", "runs")
    result = hostile_machine.hpcdl("result", hostile_run.path.name, "--runs-dir", "runs", "--json")
    table = hostile_machine.hpcdl("status", hostile_run.path)
    logs = hostile_machine.hpcdl("logs", hostile_run.path)

    assert [(row["run"], row["state"]) for row in json.loads(status.stdout)] == [
        (str(hostile_run.path), "done")
    ]
    assert json.loads(result.stdout) == hostile_run.json("result.json")
    assert table.stdout.splitlines()[1].split()[:3] == [
        f"a/{hostile_run.path.name}",
        "done",
        "local",
    ]
    assert logs.stdout == hostile_run.log()


def test_workdir_given(machine):
    (machine.folder / "my work").mkdir(parents=True)

    run = machine.submit(DESCRIBE, "--wait", workdir="my work")

    seen = json.loads((machine.folder / "my work" / "seen.json").read_text())
    assert seen["cwd"] == str(machine.folder / "my work")
    assert not (run.path / "work").exists()


def test_edit_after_submission_ignored(machine):
    (machine.folder / "helper.py").write_text("print('frozen helper', flush=True)")
    run = machine.submit(f"import helper\n{WAIT}", args=[str(machine.folder / "go")])
    (machine.folder / "a.py").write_text("raise SystemExit(9)")
    (machine.folder / "helper.py").write_text("raise SystemExit(9)")
    (machine.folder / "go").touch()

    assert machine.hpcdl("wait", run.path).returncode == 0
    assert run.log().split() == ["frozen", "helper", "one", "two"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no option -P")
def test_user_modules_do_not_shadow_worker(machine):
    """A user's random.py, or another hpcdl, must not get between the worker and its own code."""
    machine.folder.joinpath("submitit").mkdir()
    for name in ("submitit/__init__.py", "cloudpickle.py", "msgspec.py"):
        machine.folder.joinpath(name).write_text("raise SystemExit('the wrong module')")
    arguments = machine.job("print('fine')")
    argv = [
        machine.argv()[0],
        "-P",
        *machine.argv()[1:],
        *arguments,
        "--wait",
    ]  # -P: as the hpcdl command itself starts

    done = subprocess.run(
        argv,
        cwd=machine.folder,
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr


def test_raising_script_fails(machine):
    done = machine.hpcdl(
        *machine.job("print('before')\nraise ValueError('no such column')\n"), "--wait"
    )
    (run,) = machine.runs()
    result = run.json("result.json")
    shown = machine.hpcdl("result", run.path)

    assert done.returncode == 1
    assert done.stdout == f"{run.path}\n"
    assert (result["state"], result["cause"], result["log"]) == (
        "failed",
        "user_code",
        "logs/1.log",
    )
    assert re.search(
        r"^  log  logs/1\.log:\d+  ValueError: no such column$", done.stderr, re.MULTILINE
    )
    assert f"hpcdl logs {run.path} shows where" in done.stderr
    assert "Traceback" not in done.stderr.replace(run.log(), "").split("log  ")[0]
    assert shown.returncode == 1
    assert shown.stdout.startswith(
        "failed: user_code. the program ended with exit status 1; its last line: ValueError: no such column\n"
    )


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("sys.exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), 15)", "ended by SIGTERM"),
    ],
    ids=["signal", "status", "terminated"],
)
def test_other_endings_are_explained(machine, ending, message):
    done = machine.hpcdl(*machine.job(f"import os, sys\n{ending}\n"), "--wait")

    assert done.returncode == 1
    assert f"failed: user_code. {message}" in done.stderr.replace("the program ended with ", "")


def test_stopped_program_runs_again(machine):
    script = """
import os, sys
from pathlib import Path
count = Path("count")
count.write_text(count.read_text() + "x" if count.exists() else "x")
print("attempt", os.environ["HPCDL_ATTEMPT"], len(count.read_text()))
sys.exit(75 if len(count.read_text()) < 3 else 0)
"""
    run = machine.submit(script, "--wait")
    result = run.json("result.json")

    assert [(row["attempt"], row["reason"], row["status"]) for row in result["attempts"]] == [
        (1, "stopped", 75), (2, "stopped", 75), (3, "done", 0)
    ]  # fmt: skip
    assert [run.log(number) for number in (1, 2, 3)] == [
        "attempt 1 1\n",
        "attempt 2 2\n",
        "attempt 3 3\n",
    ]
    assert machine.hpcdl("logs", run.path).stdout == "attempt 1 1\nattempt 2 2\nattempt 3 3\n"
    assert "attempts   1: stopped on" in machine.hpcdl("result", run.path).stdout


def test_endless_stopping_fails(machine):
    done = machine.hpcdl(
        *machine.job("raise SystemExit(75)"), "--set", "cluster.max_requeues=2", "--wait"
    )
    (run,) = machine.runs()
    result = run.json("result.json")

    assert done.returncode == 1
    assert (result["state"], result["cause"], len(result["attempts"])) == (
        "failed",
        "time_limit",
        3,
    )
    assert result["message"] == "stopped 3 times, and max_requeues is 2"


COUNTS = """
import os, sys, time
step = int(open("count").read()) if os.path.exists("count") else 0
while step < 25:
    time.sleep(0.2)
    step += 1
    if os.path.exists(os.environ["HPCDL_STOP_FILE"]):
        open("count", "w").write(str(step))
        sys.exit(75)
print("reached", step)
"""


def test_local_time_limit_stops_and_continues(machine):
    """The program is stopped before its time limit and run again until it is done."""
    limit = ("--set", "resources.time=00:00:08", "--set", "cluster.stop_margin_s=4")
    run = machine.submit(COUNTS, "--wait", *limit)
    result = run.json("result.json")

    reasons = [row["reason"] for row in result["attempts"]]
    assert (reasons[0], reasons[-1]) == ("time_limit", "done")
    assert "reached 25" in run.log(len(result["attempts"]))


def test_program_over_time_limit_is_killed(machine):
    script = "import subprocess; subprocess.run(['sleep', '600'])"
    limit = ("--set", "resources.time=00:00:01", "--set", "cluster.stop_margin_s=0")
    done = machine.hpcdl(*machine.job(script), "--wait", *limit)
    (run,) = machine.runs()

    assert done.returncode == 1
    assert "failed: time_limit. it went on beyond its time limit, and was killed" in done.stderr
    assert f"then hpcdl resume {run.path} goes on where it was" in done.stderr
    run.until(lambda: not run.alive())


def test_cancelled_run_ends_by_itself(machine):
    """The marker alone ends the launcher when no signal reaches it."""
    script = "import subprocess\nprint('one', flush=True)\nsubprocess.run(['sleep', '600'])\n"
    run = machine.submit(script)
    run.until_log("one")
    marker = run.path / "cancelled"
    marker.touch()
    os.utime(marker, (0, 0))

    run.until(lambda: not run.alive())
    assert len(run.lines("attempts.jsonl")) == 2


def test_cancel_ends_all_processes(machine):
    script = "import subprocess\nprint('one', flush=True)\nsubprocess.run(['sleep', '600'])\n"
    run = machine.submit(script)
    run.until_log("one")
    run.until(lambda: len(run.alive()) >= 3)

    first = machine.hpcdl("cancel", run.path)
    again = machine.hpcdl("cancel", run.path)

    assert (first.returncode, first.stderr) == (0, f"cancelled: {run.path}\n")
    assert (again.returncode, again.stderr) == (0, "nothing to cancel: it is cancelled\n")
    run.until(lambda: not run.alive())
    assert machine.hpcdl("wait", run.path).returncode == 1
    assert machine.hpcdl("result", run.path).stdout.startswith("cancelled.")
    (row,) = json.loads(machine.hpcdl("status", run.path, "--json").stdout)
    assert (row["state"], row["cause"]) == ("cancelled", "cancelled")


def test_cancelled_program_not_run_again(machine):
    """A program that turns SIGTERM into 'run me again' stays cancelled."""
    script = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print('one', flush=True)
time.sleep(600)
"""
    run = machine.submit(script)
    run.until_log("one")

    machine.hpcdl("cancel", run.path)

    run.until(lambda: not run.alive())
    assert not (run.path / "logs" / "2.log").exists()


def test_ctrl_c_leaves_it_running(machine):
    with machine.start(*machine.job(WAIT, args=[str(machine.folder / "go")]), "--wait") as waiting:
        run = machine.until_run()
        run.until_log("one")
        os.killpg(waiting.pid, signal.SIGINT)
        out, err = waiting.communicate(timeout=20)

    assert waiting.returncode == 130
    assert out == f"{run.path}\n"
    assert f"the run continues without you; look again with: hpcdl wait {run.path}" in err
    assert "Traceback" not in err
    assert run.alive()
    (machine.folder / "go").touch()
    assert machine.hpcdl("wait", run.path).returncode == 0


def test_killed_shell_leaves_it_running(machine):
    with machine.start(*machine.job(WAIT, args=[str(machine.folder / "go")]), "--wait") as waiting:
        run = machine.until_run()
        run.until_log("one")
        os.killpg(waiting.pid, signal.SIGKILL)
        waiting.communicate(timeout=20)
    following = machine.start("logs", run.path, "-f")
    (machine.folder / "go").touch()
    out, _ = following.communicate(timeout=20)

    assert (following.returncode, out) == (0, "one\ntwo\n")
    assert run.json("result.json")["state"] == "done"


def test_killed_run_is_lost(machine):
    run = machine.submit(WAIT, args=["never"])
    run.until_log("one")
    (row,) = json.loads(machine.hpcdl("status", run.path, "--json").stdout)
    assert row["state"] == "running"

    os.killpg(run.group, signal.SIGKILL)
    run.until(lambda: not run.alive())

    (row,) = json.loads(machine.hpcdl("status", run.path, "--json").stdout)
    assert (row["state"], row["note"]) == ("lost", "its process is gone and left no result")
    done = machine.hpcdl("wait", run.path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "lost. its process is gone and left no result" in done.stderr


def test_cuda_devices_of_caller_are_kept(machine):
    environment = {**machine.environment, "CUDA_VISIBLE_DEVICES": "3"}
    argv = machine.argv(*machine.job(DESCRIBE), "--wait")

    done = subprocess.run(
        argv, cwd=machine.folder, env=environment, capture_output=True, text=True, timeout=180
    )
    (run,) = machine.runs()

    assert done.returncode == 0, done.stderr
    assert run.json("work/seen.json")["env"]["CUDA_VISIBLE_DEVICES"] == "3"


READS = """
import os
before = open("table.csv").read() + open("conf/a.txt").read()
open("table.csv", "a").write("more ")
print(before.strip())
raise SystemExit(75 if os.environ["HPCDL_ATTEMPT"] == "1" else 0)
"""


@pytest.mark.cases("F10")
def test_files_open_by_relative_names(machine):
    """They are copies in the working directory: a script's changes stay, and what is frozen does too."""
    argv = machine.job(READS, files=["table.csv", "conf"])
    (machine.folder / "conf").mkdir()
    (machine.folder / "conf/a.txt").write_text("nested")
    (machine.folder / "table.csv").write_text("a,b ")

    done = machine.hpcdl(*argv, "--wait")

    assert done.returncode == 0, done.stderr
    (run,) = machine.runs()
    assert (run.log(1), run.log(2)) == ("a,b nested\n", "a,b more nested\n")
    assert (run.path / "user/table.csv").read_text() == "a,b "
    assert (run.path / "work/table.csv").read_text() == "a,b more more "


@pytest.mark.cases("F10")
def test_missing_neighbour_file_has_hint(machine):
    argv = machine.job("open('table.csv')\n")
    (machine.folder / "table.csv").write_text("")

    done = machine.hpcdl(*argv, "--wait")

    assert "table.csv lies next to the script: say files: [table.csv]" in done.stderr
