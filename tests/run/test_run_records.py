"""The JSON files of a run folder as typed records."""

from __future__ import annotations

import json

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Failure, Heartbeat, Manifest, Submitted, read_attempts
from hpcdl.run.result import Result


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path)


def test_missing_files_are_no_records(paths):
    assert (Submitted.read(paths), Result.read(paths)) == (None, None)
    assert (Heartbeat.read(paths), Manifest.read(paths)) == (Heartbeat(), Manifest())
    assert (Failure.read(paths), read_attempts(paths)) == (Failure(), [])


def test_damaged_key_counts_as_missing(paths):
    write_json(paths.submitted, {"backend": "slurm", "job_id": 7, "job_ids": ["7", 8], "time": "x"})

    assert Submitted.read(paths) == Submitted(backend="slurm")


def test_image_without_hash_keeps_the_key(paths):
    """Only the nodes see some images, so that nobody could hash them."""
    write_json(paths.manifest, {"image": {"path": "/a.sif", "sha256": None}})

    assert Manifest.read(paths).image == {"path": "/a.sif", "sha256": None}


def test_lines_without_event_left_out(paths):
    for line in (
        {"attempt": 1},
        {"event": "?"},
        {"event": "start"},
        {"event": "end", "status": -9},
    ):
        append_json_line(paths.attempts, line)

    start, end = read_attempts(paths)

    assert (start.is_start, start.attempt) == (True, 1)
    assert (end.is_end, end.attempt, end.status) == (True, 1, -9)


def test_submitted_reads_as_written(paths):
    content = {
        "backend": "slurm",
        "cluster": "site",
        "job_id": "7",
        "job_ids": ["7", "8"],
        "sent": 6.0,
        "time": 5.0,
    }
    write_json(paths.submitted, content)
    submitted = Submitted.read(paths)
    assert submitted is not None

    submitted.write(paths)

    assert json.loads(paths.submitted.read_text()) == content


@pytest.mark.parametrize(
    ("submitted", "job_ids"),
    [
        (Submitted(), []),
        (Submitted(job_id="7"), ["7"]),
        (Submitted(job_id="7", job_ids=["7", "8"]), ["7", "8"]),
    ],
)
def test_all_job_ids(submitted, job_ids):
    assert submitted.all_job_ids == job_ids


def test_trainer_result_is_not_complete(paths):
    write_json(paths.result, {"state": "done", "seed": 1})
    result = Result.read(paths)
    assert result is not None
    assert (result.state, result.is_complete, result.keys["seed"]) == ("done", False, 1)

    write_json(paths.result, {"state": "done", "attempts": []})
    result = Result.read(paths)
    assert result is not None
    assert result.is_complete


def test_result_without_a_state_is_none(paths):
    write_json(paths.result, {"state": "running"})

    assert Result.read(paths) is None
