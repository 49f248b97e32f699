"""A pytest plugin: skips what needs a missing test bed, and ends with the minutes and with what was skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_SUITES = (
    "trainer",
    "testbed",
    "containers",
)  # folders that count by themselves; all others are "host"
_seconds: dict[str, float] = {}
_skipped = 0


def testbed_is_up() -> bool:
    """Whether this machine runs the test bed, and these tests may use it."""
    if (
        os.geteuid() != 0
        or not Path("/var/lib/hpcdl-testbed").is_dir()
        or shutil.which("sinfo") is None
    ):
        return False
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
    )
    return asked.returncode == 0 and bool(
        set(asked.stdout.split()) & {"idle", "mixed", "allocated", "completing"}
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked testbed where there is none, unless a missing one is a failure."""
    global _skipped
    wanting = [item for item in items if item.get_closest_marker("testbed")]
    if not wanting or testbed_is_up():
        return
    if os.environ.get("HPCDL_REQUIRE_TESTBED") == "1":
        raise pytest.UsageError(
            f"{len(wanting)} tests need the test bed, which is not up: make testbed"
        )
    for item in wanting:
        item.add_marker(pytest.mark.skip(reason="needs the test bed"))
    _skipped = len(wanting)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a test's seconds to its suite's."""
    parts = Path(report.fspath).parts
    folder = parts[1] if len(parts) > 2 else ""
    suite = folder if folder in _SUITES else "host"
    _seconds[suite] = _seconds.get(suite, 0.0) + report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The last lines: minutes per suite, and what was left out."""
    spent = ", ".join(f"{suite} {seconds / 60:.1f}" for suite, seconds in sorted(_seconds.items()))
    terminalreporter.write_line(f"minutes: {spent}")
    if target := os.environ.get("HPCDL_MINUTES"):
        with open(target, "a", encoding="utf-8") as stream:
            stream.writelines(
                f"{suite} {seconds:.0f}\n" for suite, seconds in sorted(_seconds.items())
            )
    if _skipped:
        terminalreporter.write_line(
            f"{_skipped} tests were skipped: they need a real SLURM and Apptainer. Get them with: make testbed "
            "(Debian 12, root), then make test"
        )
