"""Cross-validation: folds are like runs, and an interrupted one ends as the whole."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.checks import check_spec
from hpcdl.contract.errors import DataError
from hpcdl.contract.fold_table import table
from hpcdl.contract.spec import (
    DataSpec,
    DeviceSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    OptimizerSpec,
    SavingSpec,
    SpecError,
    TrainSpec,
)
from hpcdl.contract.tables import aligned
from tests.trainer.conftest import each_keras

tensorflow_run = pytest.mark.tensorflow
pytestmark = pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours

FOLDS = 3
TRAIN = TrainSpec(
    epochs=3,
    batch_size=24,
    seed=4,
    optimizer=OptimizerSpec(learning_rate=0.003),
    cross_validation=FOLDS,
)
WALL_CLOCK = {"seconds": 0, "images_per_s": 0, "time": 0}

MODELS = '''
"""A model that kills its trainer, or asks it to stop, at a training step."""
import os
import signal

import tensorflow as tf

FOLDER = os.path.dirname(os.path.abspath(__file__))
CALLS = []


def note():
    CALLS.append(1)
    if len(CALLS) == int(os.environ.get("STOP_AT_CALL", "0")):
        open(os.path.join(FOLDER, "stop"), "w").close()
    if len(CALLS) == int(os.environ.get("KILL_AT_CALL", "0")):
        os.kill(os.getpid(), signal.SIGKILL)


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(note, [], [])
        return tf.identity(inputs)


def model(input_shape, classes):
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input(input_shape), Watched(), layers.RandomFlip("horizontal"), layers.Flatten(),
        layers.Dense(8, activation="relu"), layers.BatchNormalization(momentum=0.8), layers.Dropout(0.2),
        layers.Dense(classes, activation="softmax"),
    ])
'''


def split(labels, folds=FOLDS, seed=4):
    from hpcdl.trainer.fit.cross_validation import split_folds  # numpy and TensorFlow

    return split_folds(labels, folds, seed)


@tensorflow_run
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_are_stratified_and_complete(folds):
    """Each row is in one fold, and each fold has its share of every class."""
    labels = np.repeat([0, 1, 2, 0], [50, 31, 7, 12]).astype(np.int32)
    parts = split(labels, folds)
    assert len(parts) == folds
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert {len(part) for part in parts} <= {100 // folds, -(-100 // folds)}
    for label in range(3):
        count = (labels == label).sum()
        assert {(labels[part] == label).sum() for part in parts} <= {
            count // folds,
            -(-count // folds),
        }
    for part in parts:
        assert part.dtype == np.int32
        assert list(part) == sorted(part)


@tensorflow_run
def test_folds_depend_on_seed():
    labels = np.arange(60, dtype=np.int32) % 3
    one, same, other = split(labels), split(labels), split(labels, seed=5)
    assert all(np.array_equal(mine, yours) for mine, yours in zip(one, same, strict=True))
    assert not all(np.array_equal(mine, yours) for mine, yours in zip(one, other, strict=True))


@tensorflow_run
def test_class_with_fewer_rows_than_folds():
    labels = np.repeat([0, 1, 2], [50, 2, 4]).astype(np.int32)
    with pytest.raises(DataError) as raised:
        split(labels, 5)
    assert raised.value.message == (
        "train.cross_validation 5 needs at least that many training rows of each class; "
        "the data set has only\n"
        "  class 1: 2\n  class 2: 4"
    )


def result(number: int, loss: Any, accuracy: float, **more: Any) -> dict[str, Any]:
    timing = {
        "train_s": 2.0,
        "first_epoch_s": number,
        "per_epoch_s": number,
        "images_per_s": 10.0 * number,
    }
    metrics = {"loss": loss, "accuracy": accuracy}
    return {
        "state": "done",
        "epochs_run": number,
        "stopped_early": False,
        "best": {"epoch": number},
        "validation": {**metrics, "rows": 10},
        "test": {**metrics, "rows": 50},
        "model": {"name": "mlp", "file": "model/model.keras"},
        "steps": 7,
        "timing": timing,
        **more,
    }


@tensorflow_run
def test_summary_has_mean_and_sample_deviation(spec):
    from hpcdl.trainer.fit.cross_validation import summary, whole_result

    run = replace(spec, train=TRAIN)
    results = [result(1, 0.5, 0.8), result(2, 0.3, 0.6), result(3, None, 0.7)]
    found = summary(results)
    assert found["mean"]["test"] == {"loss": None, "accuracy": pytest.approx(0.7)}
    assert found["deviation"]["validation"] == {"loss": None, "accuracy": pytest.approx(0.1)}
    assert [fold["fold"] for fold in found["folds"]] == [1, 2, 3]
    whole = whole_result(run, results, found, {"data_s": 1.0})
    assert whole["model"] == {"name": "mlp", "file": "folds/2/model/model.keras", "fold": 2}
    assert (whole["epochs_run"], whole["best"]) == (2, {"epoch": 2})
    assert whole["test"] == {"loss": None, "accuracy": pytest.approx(0.7), "rows": 50}
    assert whole["validation"]["rows"] == 30
    assert whole["steps"] == 21
    timing = {
        "data_s": 1.0,
        "train_s": 6.0,
        "first_epoch_s": 1,
        "per_epoch_s": 2,
        "images_per_s": 20.0,
    }
    assert whole["timing"] == timing
    assert whole["state"] == "done"
    shown = aligned(table(found))
    assert shown[0].split("  ")[0] == "fold"
    assert shown[3].split() == ["3", "3", "-", "0.7000", "-", "0.7000"]
    assert shown[4].split() == ["mean", "-", "0.7000", "-", "0.7000"]


@tensorflow_run
@pytest.mark.parametrize(
    ("monitor", "place"), [("val_accuracy", 0), ("val_loss", 1), ("accuracy", 1)]
)
def test_best_fold_gives_the_model(spec, monitor, place):
    """The fold with the best validation gives the run's model."""
    from hpcdl.trainer.fit.cross_validation import best_fold

    run = replace(spec, train=replace(TRAIN, early_stopping=EarlyStoppingSpec(monitor)))
    assert best_fold(run, [result(1, 0.5, 0.8), result(2, 0.3, 0.6), result(3, None, 0.7)]) == place


@pytest.fixture(scope="module")
def make_folds(make_run, trainer_command):
    """Makes such a run: two emulated replicas on this machine, one device in the images."""

    def make(train=TRAIN):
        alone = "apptainer" in trainer_command
        folder = make_run(
            model=FunctionSpec("fold_models:model"),
            train=train,
            devices=DeviceSpec() if alone else DeviceSpec(gpus=2, emulate=True),
            saving=SavingSpec(every_steps=4, keep=1),
        )
        (folder.path / "fold_models.py").write_text(MODELS)
        return folder

    return make


@pytest.fixture(scope="module")
def whole(make_folds, run_trainer):
    """A run to which nothing happened."""
    run = run_trainer(make_folds())
    assert run.status == 0, run.stderr
    return run


def fold_of(run, number):
    return replace(run, path=run.path / "folds" / str(number))


def epochs_of(run):
    return [{**line, **WALL_CLOCK} for line in run.metrics()]


@each_keras
@tensorflow_run
def test_result_and_log_summarise_folds(whole, arrays):
    """Means of all folds are in result.json, in the log and in the heartbeat."""
    result = whole.json("result.json")
    cross = result["cross_validation"]
    assert [fold["validation"]["rows"] for fold in cross["folds"]] == [
        len(part) for part in split(arrays["y_train"])
    ]
    for part in ("validation", "test"):
        for name in ("loss", "accuracy"):
            values = [fold[part][name] for fold in cross["folds"]]
            assert cross["mean"][part][name] == pytest.approx(statistics.mean(values))
            assert cross["deviation"][part][name] == pytest.approx(statistics.stdev(values))
            assert result[part][name] == cross["mean"][part][name]
    assert result["validation"]["rows"] == 301
    assert (whole.path / result["model"]["file"]).is_file()
    assert whole.stdout.splitlines()[-6:] == aligned(table(cross))
    beat = whole.json("heartbeat.json")
    assert (beat["phase"], beat["fold"], beat["folds"]) == ("done", FOLDS, FOLDS)


@each_keras
@tensorflow_run
def test_fold_equals_separate_run(whole, make_folds, run_trainer, arrays):
    """A fold trains like a run on its rows alone."""
    parts = split(arrays["y_train"])
    training = np.sort(np.concatenate([parts[0], parts[2]]))
    rows = {f"{axis}_train": arrays[f"{axis}_train"][training] for axis in "xy"}
    rows.update(
        {f"{axis}_test": arrays[f"{axis}_train"][parts[1]] for axis in "xy"}
    )  # where the fold validates
    own = make_folds(replace(TRAIN, cross_validation=None))
    np.savez(own.path / "data.npz", **rows)
    own = run_trainer(own)
    assert own.status == 0, own.stderr

    for mine, yours in zip(epochs_of(fold_of(whole, 2)), epochs_of(own), strict=True):
        validation = {name: value for name, value in mine.items() if name.startswith("val_")}
        assert validation
        assert mine == {**yours, **validation}
    tested = own.json("result.json")["test"]
    assert whole.json("result.json")["cross_validation"]["folds"][1]["validation"] == pytest.approx(
        tested, rel=1e-6
    )


@each_keras
@tensorflow_run
def test_interrupted_folds_are_exact(whole, make_folds, run_trainer):
    """A killed and stopped run continues in its fold and ends bit for bit like the whole one."""
    folder = make_folds()
    a_fold = (
        whole.json("result.json")["steps"]
        // FOLDS
        * whole.json("result.json")["devices"]["replicas"]
    )
    killed = run_trainer(folder, KILL_AT_CALL=str(a_fold * 3 // 2))
    assert killed.status in (-9, 137), killed.stderr
    first = folder.path / "folds/1/result.json"
    written = first.stat().st_mtime_ns
    stopped = run_trainer(folder, HPCDL_ATTEMPT="2", STOP_AT_CALL=str(a_fold))
    assert stopped.status == 75, stopped.stderr
    assert "fold 1 of 3 is done" in stopped.stdout
    assert "resuming from" in stopped.stdout
    assert not (folder.path / "folds/3/result.json").exists()
    assert folder.json("heartbeat.json")["phase"] == "stopped"
    (folder.path / "stop").unlink()
    ended = run_trainer(folder, HPCDL_ATTEMPT="3")
    assert ended.status == 0, ended.stderr
    assert first.stat().st_mtime_ns == written, "it is not trained again"

    for number in range(1, FOLDS + 1):
        mine, yours = fold_of(ended, number), fold_of(whole, number)
        assert epochs_of(mine) == epochs_of(yours)
        expected, found = yours.newest_arrays(), mine.newest_arrays()
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    for key in ("cross_validation", "test", "validation", "model", "best", "steps"):
        assert ended.json("result.json")[key] == whole.json("result.json")[key]


def test_folds_exclude_validation_split(spec):
    run = replace(spec, data=DataSpec(path="data.npz", validation_split=0.2), train=TRAIN)
    with pytest.raises(
        SpecError, match=r"data.validation_split is 0.2; expected 0 with train.cross_validation"
    ):
        check_spec(run)


def test_folds_allow_early_stopping(spec):
    """Early stopping may watch the metrics that the folds validate."""
    check_spec(
        replace(spec, train=replace(TRAIN, early_stopping=EarlyStoppingSpec("val_accuracy")))
    )
    with pytest.raises(SpecError, match=r"early_stopping.monitor is 'val_auc'; expected one of"):
        check_spec(replace(spec, train=replace(TRAIN, early_stopping=EarlyStoppingSpec("val_auc"))))
