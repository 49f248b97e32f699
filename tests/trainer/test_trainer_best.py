"""Early stopping and the best epoch: an interrupted run decides and ends as the whole one.

Outside of the first part, nothing imports TensorFlow: it runs against the Python of a container.
"""

import json
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.checks import check_spec
from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import (
    DataSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    RunSpec,
    SavingSpec,
    SpecError,
    TrainSpec,
)
from hpcdl.trainer.fit.best import Best, choose_best, restored

tensorflow_run = pytest.mark.tensorflow
pytestmark = pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours

RANDOM = MlpSpec(dense=[8, 8], dropout=0.3, batch_norm=True)
EARLY = EarlyStoppingSpec(patience=3)
TRAIN = TrainSpec(
    epochs=12, batch_size=20, seed=5, optimizer=OptimizerSpec("adam", 0.015), early_stopping=EARLY
)


def judged(training):
    return {name: training.state[name] for name in ("step", "best", "waited", "stopped_early")}


def assert_same(one, other):
    for mine, yours in zip(one.weights(), other.weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert one.losses() == other.losses()


def best_weights(training):
    training.checkpoints.assign_best()
    return training.weights()


@tensorflow_run
@pytest.mark.parametrize("replicas", [1, 2])
def test_interrupted_early_stopping_is_exact(make_training, replicas):
    """It stops at the same epoch, with the same weights and the same best weights."""
    whole = make_training(RANDOM, TRAIN, replicas)()
    assert whole.state["stopped_early"]
    assert 1 < whole.state["best"]["epoch"] == len(whole.losses()) - 3
    moments, attempts = random.Random(4), 0
    while True:
        attempt = make_training(RANDOM, TRAIN, replicas, "interrupted")
        try:
            attempt(call_s=0, stop_after=moments.randint(5, 9))
            break
        except Stopped:
            attempts += 1
    assert attempts >= 2
    assert judged(attempt) == judged(whole)
    assert_same(attempt, whole)
    for mine, yours in zip(best_weights(attempt), best_weights(whole), strict=True):
        np.testing.assert_array_equal(mine, yours)


@tensorflow_run
def test_best_weights_equal_shorter_run(make_training):
    """A run of only that many epochs ends with the same weights."""
    whole = make_training(RANDOM, TRAIN, 2)()
    short = replace(TRAIN, epochs=whole.state["best"]["epoch"], early_stopping=None)
    expected = make_training(RANDOM, short, 2, "short")().weights()
    goes_on = make_training(RANDOM, TRAIN, 2)()  # as if it had been killed before it was evaluated
    assert judged(goes_on) == judged(whole)
    assert_same(goes_on, whole)
    for training in (whole, goes_on):
        for mine, yours in zip(best_weights(training), expected, strict=True):
            np.testing.assert_array_equal(mine, yours)


@tensorflow_run
def test_checkpoints_hold_best_weights(make_training, tmp_path, monkeypatch, capsys):
    """When the newest checkpoint is damaged, the best weights are still there."""
    saving = SavingSpec(every_steps=5)
    whole = make_training(RANDOM, TRAIN, saving=saving)()
    best_step, folder = 4 * whole.state["best"]["epoch"], tmp_path / "run" / "checkpoints"
    kept = sorted(folder.iterdir())
    assert len(kept) == 2, "the newest two, and no file more for the best"
    assert whole.state["saves"] == -(-whole.state["step"] // 5)
    assert int(kept[0].stem) > best_step
    with np.load(kept[1]) as archive:
        arrays = dict(archive)
    last = max(name for name in arrays if name.startswith("v"))
    for damage in (
        {**arrays, last: arrays[last] + 1},
        {key: arrays[key] for key in arrays if key != last},
    ):
        np.savez(kept[1], **damage)
        damaged = make_training(RANDOM, TRAIN, saving=saving)
        assert damaged.checkpoints.restore()["step"] == int(kept[0].stem)
        assert f"{kept[1].name} is not used" in capsys.readouterr().out
    assert_same(damaged(), whole)
    assert judged(damaged) == judged(whole)
    for mine, yours in zip(best_weights(damaged), best_weights(whole), strict=True):
        np.testing.assert_array_equal(mine, yours)


NAN = math.nan
JUDGED = {
    "smaller": ({}, [3, 2, 2, 1], [(1, 0), (2, 0), (2, 1), (4, 0)]),
    "larger": ({"monitor": "val_accuracy"}, [0.5, 0.5, 0.6, 0.1], [(1, 0), (1, 1), (3, 0), (3, 1)]),
    "by-mode": ({"monitor": "val_loss", "mode": "max"}, [1, 2, 1], [(1, 0), (2, 0), (2, 1)]),
    "min-delta": ({"min_delta": 0.5}, [3, 2.5, 2.4, 2.0], [(1, 0), (1, 1), (3, 0), (3, 1)]),
    "min-delta-larger": (
        {"monitor": "accuracy", "min_delta": 0.25},
        [0, 0.25, 0.5],
        [(1, 0), (1, 1), (3, 0)],
    ),
    "never-nan": ({}, [NAN, 2, NAN, 3, -math.inf], [(None, 1), (2, 0), (2, 1), (2, 2), (2, 3)]),
    "all-nan": ({"monitor": "val_auc"}, [NAN, math.inf, NAN], [(None, 1), (None, 2), (None, 3)]),
}


@pytest.mark.parametrize(("settings", "values", "expected"), JUDGED.values(), ids=JUDGED)
def test_epochs_are_judged(settings, values, expected):
    early = EarlyStoppingSpec(patience=3, **settings)
    best, found = Best(early, stops=True), []
    state: dict[str, Any] = {"best": None, "waited": 0}
    for epoch, value in enumerate(values, start=1):
        is_best = best.judge(state, epoch, {early.monitor: value, "loss": 0.0})
        state = json.loads(json.dumps(state, allow_nan=False))  # as through a checkpoint
        found.append(((state["best"] or {}).get("epoch"), state["waited"]))
        assert is_best is (found[-1] == (epoch, 0))
        assert best.gives_up(state) is (state["waited"] >= 3)
        assert not Best(early, stops=False).gives_up(state)
    assert found == expected
    if state["best"]:
        assert state["best"]["value"] == values[state["best"]["epoch"] - 1]


@pytest.mark.parametrize(
    ("monitor", "larger"),
    [
        *(
            (name, True)
            for name in (
                "accuracy",
                "val_sparse_categorical_accuracy",
                "auc_1",
                "val_F1_score",
                "recall",
            )
        ),
        *(
            (name, False)
            for name in ("loss", "val_loss", "mean_absolute_error", "val_mse", "accuracy_loss")
        ),
        *((name, None) for name in ("hinge", "val_macaucus", "kullback_leibler_divergence")),
    ],
)
def test_metric_name_gives_direction(monitor, larger):
    """A loss is better when it is smaller, an accuracy when it is larger; mode overrides that."""
    assert EarlyStoppingSpec(monitor).larger_is_better() is larger
    assert EarlyStoppingSpec(monitor, mode="max").larger_is_better() is True
    assert EarlyStoppingSpec(monitor, mode="min").larger_is_better() is False


SPLIT = DataSpec(path="data.npz", validation_split=0.1)
OWN = FunctionSpec("module:function")
WRONG = [
    (
        {},
        EarlyStoppingSpec(),
        "monitor is 'val_loss'; expected a metric without val_, or data.validation_split > 0",
    ),
    (
        {"data": SPLIT},
        EarlyStoppingSpec("auc"),
        "expected one of loss, accuracy, val_loss, val_accuracy",
    ),
    ({}, EarlyStoppingSpec("auc"), "monitor is 'auc'; expected one of loss, accuracy"),
    (
        {"data": SPLIT},
        EarlyStoppingSpec(patience=0),
        "train.early_stopping.patience is 0; expected >= 1",
    ),
    (
        {"data": SPLIT},
        EarlyStoppingSpec(min_delta=-1),
        "train.early_stopping.min_delta is -1; expected >= 0",
    ),
    (
        {"data": SPLIT},
        EarlyStoppingSpec(mode="most"),
        "mode is 'most'; expected one of auto, min, max",
    ),
    (
        {"model": OWN},
        EarlyStoppingSpec("hinge"),
        "mode is 'auto'; expected min or max, as the name hinge does not say",
    ),
]


@pytest.mark.parametrize(
    ("sections", "early", "message"), WRONG, ids=[message for *_, message in WRONG]
)
def test_wrong_early_stopping_is_named(spec, sections, early, message):
    with pytest.raises(SpecError) as caught:
        check_spec(replace(spec, train=replace(TRAIN, early_stopping=early), **sections))
    assert message in str(caught.value)


def test_missing_monitor_metric_is_named(spec):
    run = replace(
        spec,
        data=SPLIT,
        model=OWN,
        train=replace(TRAIN, early_stopping=EarlyStoppingSpec("val_auc")),
    )
    check_spec(run)
    assert choose_best(run, ["loss", "auc"]) is not None
    message = "monitor is 'val_auc'; expected one of loss, recall, val_loss, val_recall"
    with pytest.raises(SpecError, match=message):
        choose_best(run, ["loss", "recall"])


def test_validation_loss_is_default_judge(spec):
    """Without early stopping the best epoch is the one with the lowest validation loss."""
    assert choose_best(spec, ["loss", "accuracy"]) is None
    best = choose_best(replace(spec, data=SPLIT), ["loss", "accuracy"])
    state: dict[str, Any] = {"best": None, "waited": 0}
    assert best is not None
    assert best.judge(state, 1, {"val_loss": 0.5})
    assert state["best"] == {"epoch": 1, "monitor": "val_loss", "value": 0.5}
    assert choose_best(replace(spec, data=SPLIT, model=OWN), ["score"]) is None


def test_best_weights_are_restored_on_request(spec):
    found, early = {"best": {"epoch": 1}}, replace(spec, train=TRAIN)
    assert restored(early, found)
    assert not restored(early, {"best": None})
    assert not restored(spec, found)
    assert not restored(
        replace(spec, train=replace(TRAIN, early_stopping=EarlyStoppingSpec(restore_best=False))),
        found,
    )


@tensorflow_run
def test_checkpoints_of_older_hpcdl_are_valid(spec):
    """Without early stopping the fingerprint of a run is the one of older versions."""
    pytest.importorskip("tensorflow")
    from hpcdl.trainer.result import fingerprints

    older = "e8efa8bbbf13eb3e36a760949e952e50f71526a254d1e8ba2774117603ef245c"
    assert fingerprints(spec) == [older, older]
    other = replace(spec, train=replace(spec.train, early_stopping=EARLY))
    assert older not in fingerprints(other)


def test_run_json_holds_early_stopping(spec):
    run = replace(spec, data=SPLIT, train=TRAIN)
    assert RunSpec.from_json(run.to_json()) == run
    raw = json.loads(run.to_json())
    raw["train"]["early_stopping"]["patient"] = 3
    with pytest.raises(SpecError, match=r"train.early_stopping: unknown keys \['patient'\]"):
        RunSpec.from_json(json.dumps(raw))
