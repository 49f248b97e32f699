"""Runs the trainer's tests on TensorFlow versions between the two images, and writes docs/compatibility.md's table.

By hand, with `make compat`; minutes and a gigabyte of disk a version, in ~/.cache/hpcdl-compat.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/compatibility.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hpcdl-compat"
# Each with a Keras of the days when it was new, as images of those days have it. Up to 2.15 it brings its own.
VERSIONS = {
    "2.12.1": None,
    "2.13.1": None,
    "2.14.1": None,
    "2.15.1": None,
    "2.16.1": "3.0.5",
    "2.16.2": "3.3.3",
    "2.17.1": "3.4.1",
    "2.18.1": "3.6.0",
    "2.19.1": "3.9.0",
    "2.20.0": "3.11.0",
}
COUNTED = ("tests", "failures", "errors", "skipped")
TESTS_NEED = ("pytest", "pytest-timeout", "hypothesis", "pillow", "scipy", "scikit-learn", "tensorboard")
SHOW = (
    "import sys, numpy, tensorflow as tf; from hpcdl.trainer import compat; "
    "print(tf.__version__, compat.keras_version(), sys.version.split()[0], numpy.__version__)"
)
HEADER = ("TensorFlow", "Keras", "Python", "numpy", "passed", "failed", "minutes", "on")


def install(tensorflow: str, keras: str | None) -> Path:
    """A virtual environment with hpcdl and this TensorFlow, made where there is none; its Python."""
    folder = CACHE / f"tensorflow-{tensorflow}"
    python, done = folder / "bin/python", folder / "done"
    wanted = [f"tensorflow-cpu=={tensorflow}", *([f"keras=={keras}"] if keras else []), *TESTS_NEED]
    if not done.exists() or done.read_text().split() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, *wanted, "--editable", REPOSITORY], check=True)
        done.write_text("\n".join(wanted))
    return python


def run_tests(python: Path, tests: list[str]) -> tuple[int, int, float]:
    """Run the trainer's tests that need no test bed: how many passed, how many did not, and the minutes."""
    report = python.parents[1] / "report.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    argv: list[str | Path] = [
        "nice",
        python,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not testbed",
        "-W",
        "default",  # an old TensorFlow warns of its own ways
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    status = subprocess.run([*argv, *tests], cwd=REPOSITORY, check=False).returncode
    if status not in (0, 1):
        sys.exit(f"pytest could not run the tests: exit status {status}")
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest's own file
    counts = Counter({key: int(value) for suite in suites for key, value in suite.attrib.items() if key in COUNTED})
    failed = counts["failures"] + counts["errors"]
    return counts["tests"] - failed - counts["skipped"], failed, (time.monotonic() - started) / 60


def write_row(row: list[str]) -> None:
    """Put a version's row into the page's table, in place of its last one."""
    page = PAGE.read_text(encoding="utf-8")
    head = f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}\n"
    before, _, after = page.partition(head)
    rows = [line for line in after.splitlines() if line.startswith("|")]
    rest = after.split("\n\n", 1)[1] if "\n\n" in after else ""
    rows = [line for line in rows if line.split(" | ")[0] != f"| {row[0]}"] + [f"| {' | '.join(row)} |"]
    rows.sort(key=lambda line: [int(part) for part in re.findall(r"\d+", line.split(" | ")[0])])
    PAGE.write_text(before + head + "\n".join(rows) + ("\n\n" + rest if rest else "\n"), encoding="utf-8")


def main() -> int:
    """Test the versions that are asked for; 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"of TensorFlow; all of {', '.join(VERSIONS)}")
    parser.add_argument("--install-only", action="store_true", help="make the environments, and run nothing")
    parser.add_argument("--tests", nargs="+", default=["tests/trainer"], help="run these alone, and write no table")
    asked = parser.parse_args()
    unknown = set(asked.versions) - set(VERSIONS)
    if unknown:
        parser.error(f"no such version here: {', '.join(sorted(unknown))}; known are {', '.join(VERSIONS)}")
    all_passed = True
    for version in asked.versions or VERSIONS:
        python = install(version, VERSIONS[version])
        if asked.install_only:
            continue
        shown = subprocess.run([python, "-c", SHOW], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
        print(f"== tensorflow, keras, python, numpy: {shown}", flush=True)
        passed, failed, minutes = run_tests(python, asked.tests)
        all_passed = all_passed and not failed
        if asked.tests == ["tests/trainer"]:
            today = datetime.date.today().isoformat()
            write_row([*shown.split(), str(passed), str(failed), f"{minutes:.1f}", today])
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
