"""Two exports of one run wait for each other: they would remove each other's files."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from hpcdl.trainer.export.alone import alone

with alone(sys.argv[1]):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Starts a process that holds the lock of a file until its input ends."""
    started = []

    def start(path):
        argv = [sys.executable, "-c", PROGRAM, str(path)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_second_export_waits_for_first(tmp_path, hold):
    run_json = tmp_path / "run.json"
    run_json.write_text("{}")
    first = hold(run_json)
    assert first.stdout.readline() == "in\n"
    second = hold(run_json)
    assert "waiting for it" in second.stdout.readline()

    first.kill()  # the lock goes with its process

    assert second.stdout.readline() == "in\n"
    assert run_json.read_text() == "{}"


def test_file_system_without_locks_does(tmp_path, hold):
    assert hold(tmp_path / "gone.json").stdout.readline() == "in\n"
