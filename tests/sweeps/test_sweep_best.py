"""The winner of a sweep as a job file."""

from __future__ import annotations

import re

import pytest

from hpcdl.contract.spec import CnnSpec
from hpcdl.errors import RunError
from hpcdl.job import load_job
from hpcdl.sweeps.best import best_job_text
from tests.sweeps.finished import claim, end, make_finished, make_sweep


def test_best_job_has_the_winners_values(tmp_path):
    paths = make_finished(tmp_path / "runs" / "digits-cnn" / "20260101-1200-aaaa")

    text = best_job_text(paths)

    (tmp_path / "best.yaml").write_text(text)
    job, base = load_job(tmp_path / "best.yaml"), load_job(paths.run.job)
    assert isinstance(job.model, CnnSpec)
    assert job.train is not None
    assert base.train is not None
    assert job.model.filters == [8, 16]
    assert (job.train.optimizer.learning_rate, job.train.batch_size) == (0.01, 9)
    assert job.train.epochs == base.train.epochs == 25
    assert job.sweep is None


def test_best_job_says_where_it_comes_from(tmp_path):
    paths = make_finished(tmp_path / "sweep")

    first, second, third = best_job_text(paths).splitlines()[:3]

    counts = "3 done, 1 failed, 1 pruned, 1 running"
    assert first == f"# The best of 6 trials ({counts}) of the sweep {paths.root}"
    assert re.fullmatch(
        r"# Trial 1: val_accuracy 0\.9 in epoch 2 \(maximize, random\), \d{4}-\d\d-\d\d \d\d:\d\d",
        second,
    )
    assert third == (
        "# Its values: model.filters: [8, 16], train.batch_size: 9,"
        " train.optimizer.learning_rate: 0.01"
    )


def test_lowest_value_wins_if_it_is_better(tmp_path):
    sets = (
        "data.validation_split=0.2",
        "sweep.over.model.dropout=0.1|0.2",
        "sweep.trials=2",
        "sweep.metric=val_loss",
    )
    paths = make_sweep(tmp_path / "sweep", sets=sets)
    for number, value in ((0, 0.3), (1, 0.4)):
        claim(paths, number, {"model.dropout": (number + 1) / 10})
        end(paths, number, value)

    (tmp_path / "best.yaml").write_text(best_job_text(paths))
    model = load_job(tmp_path / "best.yaml").model
    assert isinstance(model, CnnSpec)
    assert model.dropout == 0.1


def test_script_has_the_winners_arguments(tmp_path):
    (tmp_path / "a.py").write_text("print(1)\n")
    (tmp_path / "a.yaml").write_text("name: a\nscript: a.py\nargs: [--rate, '1', --quiet]\n")
    sets = ("sweep.over.args.rate=0.1|0.2", "sweep.trials=2", "sweep.metric=score_accuracy")
    paths = make_sweep(tmp_path / "sweep", str(tmp_path / "a.yaml"), sets)
    claim(paths, 0, {"args.rate": 0.2})
    end(paths, 0, 0.3)

    (tmp_path / "best.yaml").write_text(best_job_text(paths))
    assert load_job(tmp_path / "best.yaml").args == ["--rate", "0.2", "--quiet"]


def test_end_that_the_log_lacks_counts(tmp_path):
    paths = make_finished(tmp_path / "sweep")
    log = paths.task_log("7_0")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"value":0.9,' not in line.replace(" ", "")))

    assert "Trial 1: val_accuracy 0.9 " in best_job_text(paths)


def test_no_best_trial_yet(tmp_path):
    paths = make_sweep(tmp_path / "sweep")

    with pytest.raises(
        RunError, match=r"no trial is done with a value of val_accuracy yet \(no trial has begun"
    ):
        best_job_text(paths)
    claim(
        paths,
        0,
        {"model.filters": [8], "train.batch_size": 8, "train.optimizer.learning_rate": 0.1},
    )
    end(paths, 0, None, "failed")
    with pytest.raises(RunError, match=r"yet \(1 failed\); see: hpcdl status"):
        best_job_text(paths)
