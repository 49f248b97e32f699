"""What a newcomer's `make test` ends with: tests that need the test bed are skipped, counted, and said how to get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

@pytest.mark.testbed
def test_one():
    raise AssertionError("there is no test bed here")

@pytest.mark.testbed
def test_two():
    raise AssertionError("there is no test bed here")

def test_three():
    assert True
"""


@pytest.fixture
def run_without_testbed(tmp_path):
    """pytest with the plugin, where no SLURM command is to be found."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    testbed: x\n")

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT), **environment}
        env.pop("HPCDL_MINUTES", None)
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.reporting",
            "-p",
            "no:cacheprovider",
        ]
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


def test_skipped_tests_are_counted(run_without_testbed):
    """The summary says how to get what the skipped tests need."""
    done = run_without_testbed(HPCDL_REQUIRE_TESTBED="0")

    assert done.returncode == 0, done.stdout
    assert (
        "2 tests were skipped: they need a real SLURM and Apptainer. Get them with: make testbed"
        in done.stdout
    )
    assert "1 passed, 2 skipped" in done.stdout


def test_missing_testbed_can_be_a_failure(run_without_testbed):
    done = run_without_testbed(HPCDL_REQUIRE_TESTBED="1")

    assert done.returncode == 4
    assert "2 tests need the test bed, which is not up: make testbed" in done.stdout + done.stderr
