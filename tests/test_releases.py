"""The dependencies' releases: what the lowest are, and what a newer one that breaks something does to CI."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def releases(monkeypatch) -> ModuleType:
    pytest.importorskip("tomllib", reason="CI's own Python has it (3.11)")
    spec = importlib.util.spec_from_file_location("releases", REPOSITORY / ".ci/releases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.cases("fault 8")
def test_lowest_pins_are_the_bounds(releases):
    pins = releases.lowest_pins()

    assert {"click==8.2.1", "numpy==1.24", "pillow==11.2.1"} <= set(pins)
    assert "scikit-learn==1.4" in pins, "the higher of two extras' bounds"
    assert not [pin for pin in pins if pin.startswith("tensorflow")]


def test_second_bed_gets_all_but_tensorflow(releases, capsys):
    assert releases.main("wanted") == 0

    lines = capsys.readouterr().out.splitlines()
    assert {"click>=8.2.1", "scikit-learn>=1.4", "pytest>=8"} <= set(lines)
    assert not [line for line in lines if line.startswith("tensor")]


def test_tools_are_of_tested_versions(releases):
    tested = [
        line for line in releases.read_versions(releases.TESTED) if line.startswith("pytest==")
    ]
    if not tested:
        pytest.skip(f"Python {releases.PYTHON} has no tested versions")

    assert tested[0] in releases.lowest_pins()


@pytest.mark.parametrize(
    ("status", "versions", "code"),
    [(0, ["a==1"], 0), (0, ["a==2"], 0), (1, ["a==1"], 1), (1, ["a==2"], 0)],
    ids=["passes", "newer passes", "fails", "newer fails"],
)
def test_newest_release_fails_for_own_faults(
    releases, monkeypatch, tmp_path, capsys, status, versions, code
):
    """Tests that fail only with a release that was not there before are told of, and stop nobody's change."""
    record = tmp_path / "newest.txt"
    record.write_text("# as of yesterday\na==1\n")
    monkeypatch.setattr(releases, "NEWEST", record)
    monkeypatch.setattr(releases, "install", lambda *_: True)
    monkeypatch.setattr(releases, "run_tests", lambda _: status)
    monkeypatch.setattr(releases, "freeze", lambda _: versions)

    assert releases.newest() == code
    assert ("a==2" in capsys.readouterr().out) == (status == 1 and code == 0)


def test_tested_versions_are_installed():
    """`make demo` and `make test` take them from the file of this Python."""
    makefile = (REPOSITORY / "Makefile").read_text()
    name = f".ci/tested-{sys.version_info[0]}.{sys.version_info[1]}.txt"

    assert "$(wildcard .ci/tested-$(VERSION).txt)" in makefile
    if not (REPOSITORY / name).exists():
        pytest.skip("this Python has no tested versions")
    lines = (REPOSITORY / name).read_text().splitlines()
    assert all("==" in line or line.startswith("#") for line in lines)
