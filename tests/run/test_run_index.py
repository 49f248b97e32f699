"""What is remembered of runs that have ended, and each way in which that must be forgotten."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.run import listing, states
from hpcdl.run.index import Index
from hpcdl.run.listing import Listing, statuses
from hpcdl.run.looking import look

LONG_AGO = 1.7e9


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def make_run(root):
    """Makes a run's folder whose attempt ended long ago."""

    def make(run_id="20260101-1200-aaaa", name="a", result=states.DONE, ended=True, loss=0.5):
        folder = root / name / run_id
        folder.mkdir(parents=True)
        write_json(folder / "manifest.json", {"created": LONG_AGO})
        write_json(folder / "plan.json", {})
        write_json(folder / "run.json", {})
        write_json(folder / "submitted.json", {"backend": "slurm", "job_id": "7", "time": LONG_AGO})
        row = {"attempt": 1, "node": "n1", "job_id": "7"}
        append_json_line(folder / "attempts.jsonl", {**row, "event": "start", "time": LONG_AGO})
        if ended:
            end = {**row, "event": "end", "time": LONG_AGO + 60, "reason": "done"}
            append_json_line(folder / "attempts.jsonl", end)
        (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "loss": loss}) + "\n")
        if result:
            content = {"state": result, "test": {"accuracy": 0.75}, "attempts": []}
            write_json(folder / "result.json", content)
        grow_old(folder)
        return folder

    return make


def grow_old(folder: Path) -> None:
    os.utime(folder / "attempts.jsonl", (LONG_AGO, LONG_AGO))


@pytest.fixture
def read(monkeypatch):
    """The names of the runs whose files were read."""
    names: list[str] = []

    def note(runs, ask=True):
        names.extend(paths.root.name for paths in runs)
        return look(runs, ask=False)

    monkeypatch.setattr(listing, "look", note)
    return names


def seen(root, fresh=False):
    """The states of the runs by name, as a command sees them."""
    listed = Listing([root], fresh)
    found = {run.name: run.status.state for run in statuses(listed.runs)}
    listed.save()
    return found


def test_ended_run_is_read_once(root, make_run, read):
    make_run()
    first, second = seen(root), seen(root)

    assert first == second == {"a/20260101-1200-aaaa": "done"}
    assert read == ["20260101-1200-aaaa"]


def test_remembered_run_says_the_same(root, make_run, read):
    """Also a loss that is not a number, which JSON has no word for."""
    make_run(loss=float("nan"))
    (first,) = statuses_of(root)
    (second,) = statuses_of(root)

    assert repr(first) == repr(second)
    assert second.score == "test accuracy 0.7500"
    assert second.status.metrics["loss"] != second.status.metrics["loss"]
    assert len(read) == 1


def statuses_of(root):
    listed = Listing([root])
    found = statuses(listed.runs)
    listed.save()
    return found


def test_unfinished_run_is_read_again(root, make_run, read):
    make_run(result=None, ended=False)

    assert list(seen(root).values()) == list(seen(root).values()) == ["running"]
    assert len(read) == 2


def test_resumed_run_falls(root, make_run):
    folder = make_run(result=states.FAILED)
    assert list(seen(root).values()) == ["failed"]

    append_json_line(folder / "attempts.jsonl", {"event": "resumed", "time": LONG_AGO + 90})
    (folder / "result.json").unlink()

    assert list(seen(root).values()) == ["queued"]


def test_removed_run_falls(root, make_run):
    gone = make_run()
    make_run("20260102-1200-bbbb")
    assert len(seen(root)) == 2

    shutil.rmtree(gone)

    assert list(seen(root)) == ["a/20260102-1200-bbbb"]
    assert list(Index(root).rows) == ["a/20260102-1200-bbbb"]


def test_exchanged_run_falls(root, make_run):
    """Another run's folder in the place of a remembered one."""
    folder = make_run()
    other = make_run("20260102-1200-bbbb", result=states.FAILED)
    seen(root)
    os.utime(other / "attempts.jsonl", (LONG_AGO + 5, LONG_AGO + 5))

    shutil.rmtree(folder)
    other.rename(folder)

    assert seen(root) == {"a/20260101-1200-aaaa": "failed"}


def test_young_end_is_not_remembered(root, make_run, read):
    """Somebody may be cancelling it at this moment."""
    folder = make_run()
    os.utime(folder / "attempts.jsonl")

    seen(root)
    (folder / "cancelled").touch()

    assert list(seen(root).values()) == ["cancelled"]
    assert len(read) == 2


def test_slurms_word_is_not_remembered(root, make_run, monkeypatch):
    """A run that SLURM alone calls failed can be cancelled, which changes no line of its attempts."""
    from hpcdl.scheduler import job_answers
    from hpcdl.scheduler.jobinfo import JobInfo

    answers = job_answers.Answers(jobs={"7": JobInfo("NODE_FAIL", LONG_AGO + 99)})
    monkeypatch.setattr(job_answers, "latest", lambda *asked: answers)
    folder = make_run(result=None, ended=False)
    assert list(seen(root).values()) == ["failed"]

    (folder / "cancelled").touch()

    assert list(seen(root).values()) == ["cancelled"]


def test_half_result_is_not_remembered(root, make_run, read):
    """The trainer has written its part; launch completes it."""
    folder = make_run()
    write_json(folder / "result.json", {"state": "done"})

    seen(root)
    seen(root)

    assert len(read) == 2


BROKEN = {
    "empty": "",
    "half": '{"form": "1',
    "list": "[]",
    "another-form": '{"form": "0", "rows": {}}',
    "wrong-kinds": '{"form": FORM, "rows": {"a/20260101-1200-aaaa": ["yesterday"]}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_index_is_remade(root, make_run, read, text):
    make_run()
    seen(root)
    (path,) = (root / ".index").iterdir()
    form = json.loads(path.read_text())["form"]
    path.write_text(text.replace("FORM", json.dumps(form)))

    assert list(seen(root).values()) == ["done"]
    assert list(seen(root).values()) == ["done"]
    assert len(read) == 2


def test_fresh_reads_all_again(root, make_run, read):
    make_run()
    seen(root)

    assert list(seen(root, fresh=True).values()) == ["done"]
    assert len(read) == 2


def test_foreign_index_is_not_trusted(root, make_run):
    """What others may have written does not say how a run ended."""
    make_run()
    seen(root)
    (path,) = (root / ".index").iterdir()
    path.write_text(path.read_text().replace('"done"', '"failed"'))
    assert list(seen(root).values()) == ["failed"], "the index is read at all"

    path.chmod(0o666)

    assert list(seen(root).values()) == ["done"]


def test_unwritable_root_is_slower(root, make_run, read):
    """A file in the place of the folder: root may write anywhere else."""
    make_run()
    (root / ".index").write_text("")

    assert list(seen(root).values()) == list(seen(root).values()) == ["done"]
    assert len(read) == 2


def test_group_may_add_an_index(root, make_run):
    make_run()
    root.chmod(0o2775)
    seen(root)

    assert (root / ".index").stat().st_mode & 0o7777 == 0o2775


def test_finished_runs_are_only_looked_at(root, make_run, monkeypatch):
    """One stat for each run that has ended, and no file of it is opened."""
    for number in range(5):
        make_run(f"20260101-1200-{number:04}")
    seen(root)
    opened, looked_at = [], []
    stat = os.stat

    def note(path, *rest, **more):
        looked_at.append(str(path))
        return stat(path, *rest, **more)

    listed = Listing([root])
    monkeypatch.setattr("os.stat", note)
    monkeypatch.setattr("io.open", lambda path, *rest, **more: opened.append(path))
    found = statuses(listed.runs)
    monkeypatch.undo()

    assert len(found) == 5
    assert (opened, len(looked_at)) == ([], 5)
