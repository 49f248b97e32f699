"""A sweep's folder that was copied without its links or empty folders, or lost a part."""

from __future__ import annotations

import shutil

import pytest

from hpcdl.sweeps.best import best_job_text
from hpcdl.sweeps.events import Claimed, Ended, append_event
from hpcdl.sweeps.export import table
from hpcdl.sweeps.overview import overview
from tests.sweeps.finished import make_finished


@pytest.fixture
def paths(tmp_path):
    return make_finished(tmp_path / "digits" / "20261128-1000-aaaa")


@pytest.mark.parametrize("lost", [("claims", "open"), ("tasks",)])
def test_lost_folders_change_no_figure(paths, lost):
    states = {row[0]: (row[1], row[2]) for row in table(paths)[1]}
    best = best_job_text(paths)

    for name in lost:
        shutil.rmtree(paths.root / name)

    assert {row[0]: (row[1], row[2]) for row in table(paths)[1]} == states
    assert (
        best_job_text(paths).partition("\n# Its values")[2] == best.partition("\n# Its values")[2]
    )


def test_status_of_copy_without_links(paths):
    shutil.rmtree(paths.claims)
    shutil.rmtree(paths.open)

    counts = overview(paths).counts

    assert (counts["done"], counts["pruned"], counts["failed"]) == (3, 1, 1)


def test_foreign_log_is_left_out(paths):
    rows, best = table(paths), best_job_text(paths)
    foreign = {"model.dropout": 0.5}

    for number in (0, 9):
        append_event(paths.task_log("99_0"), Claimed(number, foreign, "99_0", 1, 2e9))
        ended = Ended(number, "done", 0.99, 1, 1, 1.0, foreign, "99_0", 1, 2e9)
        append_event(paths.task_log("99_0"), ended)

    assert [row[:3] for row in table(paths)[1]] == [row[:3] for row in rows[1]]
    assert best_job_text(paths) == best
