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
# TensorFlow, and the package of Keras beside it, as images of those days have them. Up to 2.15 it brings its own.
VERSIONS = (
    "2.12.1",
    "2.13.1",
    "2.14.1",
    "2.15.1",
    "2.16.1-keras-3.0.5",
    "2.16.2-keras-3.3.3",
    "2.17.1-keras-3.4.1",
    "2.18.1-keras-3.6.0",
    "2.19.1-keras-3.7.0",
    "2.19.1-keras-3.8.0",
    "2.19.1-keras-3.9.2",
    "2.19.1-keras-3.10.0",
    "2.20.0-keras-3.11.0",
    "2.21.0-tf-keras-2.21.0",
)
COUNTED = ("tests", "failures", "errors", "skipped")
TESTS_NEED = (
    "pytest",
    "pytest-timeout",
    "hypothesis",
    "pillow",
    "scipy",
    "scikit-learn",
    "tensorboard",
    "google-crc32c",
)
SHOW = (
    "import sys, numpy, tensorflow as tf; from hpcdl.trainer import compat; "
    "print(tf.__version__, compat.keras_version(), sys.version.split()[0], numpy.__version__)"
)
HEADER = ("TensorFlow", "Keras", "Python", "numpy", "passed", "failed", "minutes", "on")


def packages(version: str) -> list[str]:
    """What pip installs for one of VERSIONS."""
    tensorflow, _, keras = version.partition("-")
    name, _, number = keras.rpartition("-")
    return [f"tensorflow-cpu=={tensorflow}", *([f"{name}=={number}"] if keras else [])]


def environment(version: str) -> dict[str, str]:
    """The variables to run it with: tf-keras is used only where one asks for it."""
    return {**os.environ, "TF_USE_LEGACY_KERAS": "1"} if "-tf-keras-" in version else {**os.environ}


def install(version: str) -> Path:
    """A virtual environment with hpcdl and one of VERSIONS, made where there is none; its Python."""
    folder = CACHE / f"tensorflow-{version}"
    python, done = folder / "bin/python", folder / "done"
    wanted = [*packages(version), *TESTS_NEED]
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


def run_tests(python: Path, tests: list[str], variables: dict[str, str]) -> tuple[int, int, float]:
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
    status = subprocess.run([*argv, *tests], cwd=REPOSITORY, env=variables, check=False).returncode
    if status not in (0, 1):
        sys.exit(f"pytest could not run the tests: exit status {status}")
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest's own file
    counts = Counter(
        {
            key: int(value)
            for suite in suites
            for key, value in suite.attrib.items()
            if key in COUNTED
        }
    )
    failed = counts["failures"] + counts["errors"]
    return counts["tests"] - failed - counts["skipped"], failed, (time.monotonic() - started) / 60


def write_row(row: list[str]) -> None:
    """Put a version's row into the page's table, in place of its last one."""
    page = PAGE.read_text(encoding="utf-8")
    head = f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}\n"
    before, _, after = page.partition(head)
    rows = [line for line in after.splitlines() if line.startswith("|")]
    rest = after.split("\n\n", 1)[1] if "\n\n" in after else ""
    kept = [line for line in rows if line.split(" | ")[:2] != [f"| {row[0]}", row[1]]]
    rows = sorted([*kept, f"| {' | '.join(row)} |"], key=_versions_in)
    PAGE.write_text(
        before + head + "\n".join(rows) + ("\n\n" + rest if rest else "\n"), encoding="utf-8"
    )


def _versions_in(line: str) -> list[list[int]]:
    """What the table's rows are sorted by: TensorFlow's version, then Keras's."""
    return [[int(part) for part in re.findall(r"\d+", cell)] for cell in line.split(" | ")[:2]]


def main() -> int:
    """Test the versions that are asked for; 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help=f"all of {', '.join(VERSIONS)}"
    )
    parser.add_argument(
        "--install-only", action="store_true", help="make the environments, and run nothing"
    )
    parser.add_argument(
        "--tests", nargs="+", default=["tests/trainer"], help="run these alone, and write no table"
    )
    asked = parser.parse_args()
    unknown = set(asked.versions) - set(VERSIONS)
    if unknown:
        parser.error(
            f"no such version here: {', '.join(sorted(unknown))}; known are {', '.join(VERSIONS)}"
        )
    all_passed = True
    for version in asked.versions or VERSIONS:
        python, variables = install(version), environment(version)
        if asked.install_only:
            continue
        shown = subprocess.run(
            [python, "-c", SHOW],
            cwd=REPOSITORY,
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        print(f"== tensorflow, keras, python, numpy: {shown}", flush=True)
        passed, failed, minutes = run_tests(python, asked.tests, variables)
        all_passed = all_passed and not failed
        if asked.tests == ["tests/trainer"]:
            today = datetime.date.today().isoformat()
            tensorflow, keras, *others = shown.split()
            package = "tf-keras " if "-tf-keras-" in version else ""
            write_row(
                [
                    tensorflow,
                    package + keras,
                    *others,
                    str(passed),
                    str(failed),
                    f"{minutes:.1f}",
                    today,
                ]
            )
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
