"""Runs that an earlier hpcdl left keep working: every command that reads a run, and resume."""

from __future__ import annotations

import json
import socket
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parent / "old_runs/0.1.0.tar.xz"
MADE_IN = "/tmp/oldruns"  # noqa: S108 - the text that stands in the old files
TEXT_FILES = (".json", ".jsonl", ".yaml", ".log", ".out")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an earlier version's runs, as if they had been made in this test's folder."""
    monkeypatch.chdir(tmp_path)  # ./runs, too, is looked through
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    for path in (tmp_path / "runs").glob("*/*/**/*"):
        if path.suffix in TEXT_FILES:
            text = path.read_text().replace(MADE_IN, str(tmp_path))
            path.write_text(text.replace('"host": "vm"', f'"host": "{socket.gethostname()}"'))
    return tmp_path / "runs"


def run_of(old: Path, name: str) -> Path:
    (folder,) = (old / name).iterdir()
    return folder


def test_status_of_old_runs(cli, old):
    answer = cli("status", "--all", "--runs-dir", old, "--json")

    assert (answer.code, answer.err) == (0, "")
    states = {Path(run["run"]).parent.name: run["state"] for run in json.loads(answer.out)}
    assert states == {"tiny": "done", "hello": "done", "killed": "lost"}


def test_result_of_old_runs(cli, old):
    result = cli("result", run_of(old, "tiny"), "--json")
    words = cli("result", run_of(old, "tiny"))

    assert (result.code, words.code) == (0, 0)
    assert json.loads(result.out)["test"]["accuracy"] == pytest.approx(0.475)
    assert "0.4750" in words.out
    assert cli("result", run_of(old, "hello")).out.startswith("done")


def test_report_and_comparison_of_old_runs(cli, old, tmp_path):
    runs = [run_of(old, name) for name in ("tiny", "killed", "hello")]
    for run in runs:
        page = tmp_path / f"{run.parent.name}.html"
        answer = cli("report", run, "-o", page)
        assert (answer.code, answer.err) == (0, "")
        assert run.parent.name in page.read_text()
    answer = cli("compare", *runs)

    assert answer.code == 0
    assert "47.50 %" in answer.out


def test_logs_of_old_runs(cli, old):
    answer = cli("logs", run_of(old, "hello"))

    assert (answer.code, answer.out, answer.err) == (0, "hello\naccuracy 0.5\n", "")
    assert "epoch 3/3" in cli("logs", run_of(old, "tiny")).out


def test_shell_of_an_old_run_says_what_it_ran_in(cli, old):
    answer = cli("shell", run_of(old, "tiny"))

    assert answer.code == 2
    assert "runs without a container on local" in answer.err


def test_old_runs_are_cleaned(cli, old):
    answer = cli("clean", run_of(old, "tiny"), "--yes")

    assert answer.code == 0
    assert not any((old / "tiny").iterdir())


@pytest.mark.tensorflow
def test_old_run_is_resumed_where_it_was(hpcdl_process, old, tmp_path):
    """With the code that it was submitted with: its checkpoints, and its results, are that version's."""
    run = run_of(old, "killed")
    assert hpcdl_process("data", "stage", "digits", "--data-root", tmp_path / "data").code == 0

    assert hpcdl_process("resume", run).code == 0
    waited = hpcdl_process("wait", run)

    assert waited.code == 0, waited.err
    result = json.loads((run / "result.json").read_text())
    assert (result["state"], result["attempts"][-1]["from_step"]) == ("done", 600)
    assert result["test"]["accuracy"] > 0.8
    assert len((run / "metrics.jsonl").read_text().splitlines()) >= 600
