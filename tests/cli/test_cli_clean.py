"""`hpcdl clean`: shows first, removes only what was asked for, and never a run that is not over."""

from __future__ import annotations

import json
import os
import time

import pytest

pytestmark = pytest.mark.cases("F23")
DAY_S = 86400


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Makes a run's folder in a state, with checkpoints and a model."""
    monkeypatch.chdir(tmp_path)

    def make(name, state="done", age_s=0.0):
        root = tmp_path / "runs" / name / "20260101-1200-aaaa"
        (root / "checkpoints").mkdir(parents=True)
        (root / "checkpoints" / "1.npz").write_bytes(bytes(100_000))
        (root / "folds" / "1" / "checkpoints").mkdir(parents=True)
        (root / "model").mkdir()
        (root / "manifest.json").write_text(json.dumps({"created": time.time() - age_s}))
        me = {"backend": "local", "host": "elsewhere", "time": time.time()}
        if state != "created":
            (root / "submitted.json").write_text(json.dumps(me))
        rows = [{"event": "start", "attempt": 1, "node": "n", "time": 1.0}]
        if state in ("done", "failed"):
            rows.append({"event": "end", "attempt": 1, "node": "n", "time": 2.0, "reason": state})
            (root / "result.json").write_text(json.dumps({"state": state}))
        if state == "cancelled":
            (root / "cancelled").write_text("")
        if state != "created":
            (root / "attempts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return root

    return make


def everything(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_shows_and_removes_nothing(cli, make_run, tmp_path):
    make_run("a")
    make_run("b", "running")
    before = everything(tmp_path)

    for words in ((), ("a",), ("--checkpoints",), ("--older-than", "0d")):
        answer = cli("clean", *words)
        assert answer.code == 0
        assert "nothing was removed (--yes removes it)" in answer.err
    assert "a/20260101-1200-aaaa  done" in cli("clean").out
    assert "kept: it is running; hpcdl cancel ends it" in cli("clean").out
    assert everything(tmp_path) == before


def test_refuses_without_runs_or_age(cli, make_run, tmp_path):
    make_run("a")
    before = everything(tmp_path)

    answer = cli("clean", "--yes")

    assert answer.code == 2
    assert "which runs? Name them, or say --older-than 30d" in answer.err
    assert everything(tmp_path) == before


def test_removes_old_runs(cli, make_run):
    old, new, runs = (
        make_run("old", age_s=40 * DAY_S),
        make_run("new"),
        make_run("runs", "running", 40 * DAY_S),
    )

    answer = cli("clean", "--older-than", "30d", "--yes")

    assert answer.code == 0
    assert not old.exists()
    assert os.listdir(old.parent) == []
    assert new.exists()
    assert runs.exists()


def test_removes_only_checkpoints(cli, make_run):
    run = make_run("a")

    answer = cli("clean", "a", "--checkpoints", "--yes")

    assert answer.code == 0
    assert answer.err.startswith("1")
    assert sorted(os.listdir(run)) == [
        "attempts.jsonl", "folds", "manifest.json", "model", "result.json", "submitted.json",
    ]  # fmt: skip
    assert os.listdir(run / "folds" / "1") == []
    assert cli("clean", "a", "--checkpoints", "--yes").code == 0, "nothing is left to do"
    assert cli("result", run).code == 0


@pytest.mark.parametrize(
    ("state", "options", "reason"),
    [
        ("running", (), "it is running"),
        ("cancelled", (), "it was cancelled a moment ago"),
        ("created", (), "it was made a moment ago"),
        ("failed", ("--checkpoints",), "hpcdl resume would go on from its checkpoints"),
    ],
)
def test_unfinished_run_is_kept(cli, make_run, state, options, reason):
    """A run that is running, new, just cancelled or can be resumed is not removed."""
    run = make_run("a", state)
    before = everything(run)

    answer = cli("clean", run, *options, "--yes")

    assert answer.code == 1, "what was named was not removed"
    assert reason in answer.out
    assert everything(run) == before


def test_link_is_not_followed(cli, make_run, tmp_path):
    run = make_run("a")
    (tmp_path / "runs" / "b").mkdir()
    (tmp_path / "runs" / "b" / "20260101-1200-bbbb").symlink_to(run)

    answer = cli("clean", "b", "--yes")

    assert "kept: it is a link to" in answer.out
    assert (run / "model").exists()


def test_run_given_twice_is_removed_once(cli, make_run):
    run = make_run("a")

    assert cli("clean", "a", "a*", run, "--yes").code == 0
    assert not run.exists()
