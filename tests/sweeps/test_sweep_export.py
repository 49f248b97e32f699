"""A sweep's trials as a CSV table and as a journal that Optuna opens."""

from __future__ import annotations

import csv
import json
import os

import pytest

from hpcdl.errors import UserError
from hpcdl.sweeps.export import write_csv, write_optuna
from tests.sweeps.finished import claim, end, make_finished, make_sweep, train


@pytest.fixture
def paths(tmp_path):
    return make_finished(tmp_path / "20260101-1200-aaaa")


def open_study(path):
    optuna = pytest.importorskip("optuna")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def test_csv_has_a_row_for_each_trial(paths, tmp_path):
    assert write_csv(paths, tmp_path / "trials.csv") == 6

    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["done", "done", "done", "pruned", "failed", "running"]
    assert [row["value"] for row in rows] == ["0.5", "0.9", "0.7", "0.95", "", ""]
    assert json.loads(rows[1]["model.filters"]) == [8, 16]
    assert float(rows[1]["train.optimizer.learning_rate"]) == 0.01
    assert (rows[1]["trial"], rows[1]["epoch"], rows[1]["task"]) == ("1", "2", "7_0")
    assert rows[1]["started"] == "2026-09-21T14:13:21+00:00"
    assert rows[5]["ended"] == ""


def test_optuna_opens_the_same_trials(paths, tmp_path):
    assert write_optuna(paths, tmp_path / "optuna.log") == 6

    study = open_study(tmp_path / "optuna.log")
    assert (study.study_name, study.direction.name) == ("digits-cnn/20260101-1200-aaaa", "MAXIMIZE")
    assert [trial.number for trial in study.trials] == list(range(6))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3 + [
        "PRUNED",
        "FAIL",
        "RUNNING",
    ]
    assert [trial.value for trial in study.trials] == [0.5, 0.9, 0.7, 0.95, None, None]
    assert study.best_trial.params == {
        "model.filters": "[8, 16]",
        "train.batch_size": 9,
        "train.optimizer.learning_rate": 0.01,
    }
    assert study.trials[2].intermediate_values == {1: 0.5, 2: 0.7, 3: 0.4}
    assert study.trials[1].duration.total_seconds() == 59
    assert (
        os.listdir(tmp_path) == ["optuna.log", "20260101-1200-aaaa"]
        or len(os.listdir(tmp_path)) == 2
    )


def test_journal_is_replaced_as_a_whole(paths, tmp_path):
    target = tmp_path / "optuna.log"
    target.write_text("something else\n")

    write_optuna(paths, target)
    write_optuna(paths, target)

    assert len(open_study(target).trials) == 6


def test_claimed_trial_without_files_waits(tmp_path):
    paths = make_sweep(tmp_path / "sweep")
    paths.claim(0).symlink_to("7_1")
    claim(
        paths,
        1,
        {"model.filters": [8], "train.batch_size": 8, "train.optimizer.learning_rate": 0.1},
    )
    train(paths, 1, [0.5])
    end(paths, 1, 0.5)

    write_optuna(paths, tmp_path / "optuna.log")

    states = [trial.state.name for trial in open_study(tmp_path / "optuna.log").trials]
    assert states == ["WAITING", "COMPLETE"]


def test_equal_choices_stay_apart(tmp_path):
    """1 and true are equal in Python, and in Optuna."""
    sets = ("data.validation_split=0.2", "sweep.over.model.dropout=[0, 0.0]", "sweep.trials=2")
    paths = make_sweep(tmp_path / "sweep", sets=sets)
    for number, value in enumerate([0, 0.0]):
        claim(paths, number, {"model.dropout": value})
        end(paths, number, 0.5)

    write_optuna(paths, tmp_path / "optuna.log")

    trials = open_study(tmp_path / "optuna.log").trials
    assert [trial.params["model.dropout"] for trial in trials] == ["0", "0.0"]


def test_export_without_optuna_says_how(paths, tmp_path, monkeypatch):
    def missing() -> None:
        raise UserError("no Optuna")

    monkeypatch.setattr("hpcdl.sweeps.optuna_journal.load_optuna", missing)

    with pytest.raises(UserError, match=r"pip install 'optuna>=3\.6', or write a table with --csv"):
        write_optuna(paths, tmp_path / "optuna.log")
    assert not (tmp_path / "optuna.log").exists()
