"""What is removed of a run that is done, and what stays."""

from __future__ import annotations

import json

import pytest

from hpcdl.run.evidence import read
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import status_of
from hpcdl.run.tidying import tidy

KERAS = {"floatx": "float32", "epsilon": 1e-07, "backend": "tensorflow"}
KERAS["image_data_format"] = "channels_last"


@pytest.fixture
def paths(tmp_path):
    """A run of two epochs with a full home; its result is still to be written."""
    paths = RunPaths(tmp_path / "run")
    (paths.home / ".keras/datasets").mkdir(parents=True)
    (paths.home / ".keras/datasets/mnist.npz").symlink_to("/data/mnist.npz")
    (paths.home / ".keras/models").symlink_to("/data/models")
    (paths.home / ".keras/keras.json").write_text(json.dumps(KERAS))
    (paths.home / ".cache/x").mkdir(parents=True)
    paths.submitit.mkdir()
    paths.work.mkdir()
    paths.logs.mkdir()
    paths.local_log.write_text(
        "submitit INFO (now) - x\nattempt 1 of /x on n\nattempt 1 ended: done\n"
    )
    paths.plan.write_text(json.dumps({"data_root": "/data"}))
    paths.heartbeat.write_text(json.dumps({"epochs": 2}))
    paths.metrics.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    paths.spec.write_text("{}")
    return paths


def end(paths, state, **keys):
    paths.result.write_text(json.dumps({"state": state, "attempts": [], **keys}))
    paths.attempts.write_text(
        '{"event": "start", "attempt": 1}\n{"event": "end", "attempt": 1, "reason": "done"}\n'
    )


def test_tidy_leaves_what_is_read(paths):
    end(paths, "done", progress={"epochs": 2})
    tidy(paths)
    left = sorted(str(path.relative_to(paths.root)) for path in paths.root.rglob("*"))
    assert left == [
        "attempts.jsonl", "logs", "metrics.jsonl", "plan.json", "result.json", "run.json",
    ]  # fmt: skip
    status = status_of(read(paths))
    assert (status.state, status.epoch, status.epochs) == ("done", 2, 2)


def test_tidy_keeps_the_programs_files(paths):
    own = [paths.home / ".keras/datasets/own.npz", paths.work / "out.txt", paths.home / "notes"]
    for path in own:
        path.write_text("mine")
    link = paths.home / ".keras/datasets/link"
    link.symlink_to("/elsewhere/x")
    (paths.home / ".keras/keras.json").write_text(json.dumps({**KERAS, "floatx": "float16"}))
    paths.local_log.write_text("Traceback\n")
    end(paths, "done")
    tidy(paths)
    assert all(path.read_text() == "mine" for path in own)
    assert link.is_symlink()
    assert (paths.home / ".keras/keras.json").exists()
    assert paths.local_log.exists()
    assert paths.heartbeat.exists(), "its result does not say how many epochs there are"


@pytest.mark.parametrize("state", ["failed", "cancelled", "lost"])
def test_tidy_leaves_other_ends_alone(paths, state):
    end(paths, state)
    before = sorted(paths.root.rglob("*"))
    tidy(paths)
    assert sorted(paths.root.rglob("*")) == before
