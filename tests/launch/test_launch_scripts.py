"""What a script's user sees of it: its logs, its metrics, its last words, its cause and what to try."""

from __future__ import annotations

import json
import re

import pytest

MISSING = """
import sys
print("E external/xla: failed call to cuInit: UNKNOWN ERROR (303)", file=sys.stderr)
print("2026-11-28 06:20:00.109157: W tensorflow/core/port.cc:104] CUDA_ERROR_NO_DEVICE", file=sys.stderr)
open("nothing.csv")
"""
TALKS = """
import json, os, sys, time
for epoch in (1, 2):
    with open(os.environ["HPCDL_METRICS_FILE"], "a") as file:
        print(json.dumps({"epoch": epoch, "loss": 1 / epoch, "val_accuracy": 0.5}), file=file)
    for step in range(100):
        print(f"\\rstep {step}", end="")
    print()
with open(os.environ["HPCDL_METRICS_FILE"], "a") as file:
    file.write("not JSON\\n")
print("a warning", file=sys.stderr)
time.sleep(0.3)
print("Test accuracy: 0.94")
"""


@pytest.fixture(scope="module")
def talker(hostile_machine):
    return hostile_machine.submit(TALKS, "--wait")


@pytest.mark.cases("C12")
def test_missing_file_is_not_device_error(machine):
    """CUDA's noise in the log does not hide the script's own error."""
    done = machine.hpcdl(*machine.job(MISSING), "--wait")
    (run,) = machine.runs()
    result = run.json("result.json")

    assert (done.returncode, result["cause"]) == (1, "user_code")
    assert result["message"].endswith(
        "last line: FileNotFoundError: [Errno 2] No such file or directory: 'nothing.csv'"
    )
    assert re.search(r"^  log  logs/1\.log:\d+  FileNotFoundError", done.stderr, re.MULTILINE)
    assert "CUDA_ERROR" not in run.log()
    assert "CUDA_ERROR_NO_DEVICE" in (run.path / "logs" / "1.tensorflow.log").read_text()


@pytest.mark.cases("F20")
def test_result_shows_output_and_metrics(talker, hostile_machine):
    shown = hostile_machine.hpcdl("result", talker.path).stdout
    result = talker.json("result.json")
    (row,) = json.loads(hostile_machine.hpcdl("status", talker.path, "--json").stdout)
    table = hostile_machine.hpcdl("status", talker.path).stdout.splitlines()[1]

    assert result["metrics"] == {"loss": 0.5, "val_accuracy": 0.5}
    assert result["metrics_problems"] == ["line 3 is not JSON: 'not JSON'"]
    assert "  metrics    loss 0.5000, val_accuracy 0.5000\n" in shown
    assert "metrics.jsonl: line 3 is not JSON" in shown
    assert "  output     Test accuracy: 0.94\n" in shown
    assert (row["epoch"], row["metrics"]) == (2, {"epoch": 2, "loss": 0.5, "val_accuracy": 0.5})
    assert "loss 0.5000" in table
    assert table.split()[3:5] == ["2", "0.5000"]


@pytest.mark.cases("F20")
def test_status_shows_the_last_line(machine):
    """Of a script that writes no metrics, its last line is what came out."""
    run = machine.submit("print('Test accuracy: 0.94')", "--wait")
    assert (
        machine.hpcdl("status", run.path).stdout.splitlines()[1].endswith("  Test accuracy: 0.94")
    )
    assert "  output     Test accuracy: 0.94\n" in machine.hpcdl("result", run.path).stdout


@pytest.mark.cases("F20")
def test_logs_by_stream(talker, hostile_machine):
    def logs(*options):
        return hostile_machine.hpcdl("logs", talker.path, *options).stdout

    assert logs().endswith("step 99\na warning\nTest accuracy: 0.94\n")
    assert logs("--stderr") == "a warning\n"
    assert logs("--stdout").endswith("step 99\nTest accuracy: 0.94\n")
    assert logs("--tensorflow") == ""


@pytest.mark.cases("F20")
def test_end_of_the_logs(talker, hostile_machine, machine):
    def logs(*options):
        return hostile_machine.hpcdl("logs", talker.path, *options).stdout

    assert logs("-n", 2) == "a warning\nTest accuracy: 0.94\n"
    assert logs("--tail", 1, "--stdout") == "Test accuracy: 0.94\n"
    assert logs("-n", 0) == ""
    assert logs("-n", 1000) == logs()
    assert hostile_machine.hpcdl("logs", talker.path, "-n", "-1").returncode == 2


def test_end_of_logs_of_several_attempts(machine):
    program = "import os, sys\nprint('one')\nprint(os.environ['HPCDL_ATTEMPT'])\n"
    run = machine.submit(
        program + "sys.exit(75 if os.environ['HPCDL_ATTEMPT'] == '1' else 0)", "--wait"
    )

    assert machine.hpcdl("logs", run.path, "-n", 1).stdout == "2\n"
    done = machine.hpcdl("logs", run.path, "-n", 3)
    assert (done.stdout, done.stderr) == ("1\none\n2\n", "== 2.log ==\n")


def test_long_log_from_its_end(machine):
    """Blocks are read from the end; a line may be longer than a block, and the last one may lack its newline."""
    program = "for n in range(30000): print('line', n)\nprint('x' * 200_000)\nprint('end', end='')"
    run = machine.submit(program, "--wait")

    assert machine.hpcdl("logs", run.path, "-n", 1).stdout == "end"
    assert machine.hpcdl("logs", run.path, "-n", 2).stdout == "x" * 200_000 + "\nend"
    assert machine.hpcdl("logs", run.path, "-n", 3).stdout.startswith("line 29999\nxxx")
    lines = machine.hpcdl("logs", run.path, "-n", 20002).stdout.splitlines()
    assert (len(lines), lines[0]) == (20002, "line 10000")


def test_following_from_the_end(machine):
    program = """
import os, sys, time
for n in range(100): print("early", n)
while not os.path.exists(sys.argv[1]): time.sleep(0.02)
print("oops", file=sys.stderr)
time.sleep(0.3)
print("late")
"""
    run = machine.submit(program, args=[str(machine.folder / "go")])
    run.until_log("early 99\n")
    both = machine.start("logs", run.path, "-f", "-n", 1)
    alone = machine.start("logs", run.path, "-f", "-n", 1, "--stdout")
    assert both.stdout.readline() == alone.stdout.readline() == "early 99\n"
    (machine.folder / "go").touch()
    machine.hpcdl("wait", run.path)

    assert both.communicate(timeout=20)[0] == "oops\nlate\n"
    assert alone.communicate(timeout=20)[0] == "late\n"


@pytest.mark.cases("F18")
def test_script_at_time_limit_gets_advice(machine):
    """The advice names SaveAndStop and the stop file, and no checkpoints."""
    limit = ("--set", "resources.time=00:00:01", "--set", "cluster.stop_margin_s=0")
    done = machine.hpcdl(*machine.job("import time; time.sleep(600)"), "--wait", *limit)

    assert done.returncode == 1
    (advice,) = re.findall("^  try  (.*)$", done.stderr, re.MULTILINE)
    assert "checkpoint" not in advice
    assert "SaveAndStop" in advice
    assert "HPCDL_STOP_FILE" in advice
    assert "--set resources.time=" in advice


@pytest.mark.cases("F18")
def test_lost_script_is_told_of_restart(machine):
    """A lost script starts again from its beginning unless it saves its state."""
    run = machine.submit("import time; print('one', flush=True); time.sleep(600)")
    run.until_log("one")
    machine.end_all()
    run.until(lambda: not run.alive())

    shown = machine.hpcdl("result", run.path).stdout
    assert shown.startswith("lost.")
    assert "runs the script again, from its start unless it saved its state" in shown


def test_wait_shows_epochs_of_script(machine):
    done = machine.hpcdl(*machine.job(TALKS), "--wait")
    assert "epoch 1  loss 1.0000  val_accuracy 0.5000\n" in done.stderr
    assert "epoch 2  loss 0.5000  val_accuracy 0.5000\n" in done.stderr


@pytest.mark.cases("F18")
def test_epoch_zero_is_shown(machine):
    """Keras's callbacks number epochs from 0; a line without an epoch is none."""
    writes = "import os\nfile = open(os.environ['HPCDL_METRICS_FILE'], 'a')\n"
    lines = 'file.write(\'{"epoch": 0, "loss": 2}\\n{"lr": 1}\\n{"epoch": 1, "loss": 1}\\n\')\n'
    done = machine.hpcdl(*machine.job(writes + lines), "--wait")

    assert "epoch 0  loss 2\nepoch 1  loss 1\n" in done.stderr
