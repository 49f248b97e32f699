"""Class balance: each kind counts as it says, and trains as Keras's class_weight does."""

from dataclasses import replace

import numpy as np
import pytest

from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import MlpSpec, OptimizerSpec, TrainSpec
from hpcdl.trainer.dataset.balance import Balance
from tests.trainer.conftest import Training, each_keras

tensorflow_run = pytest.mark.tensorflow
pytestmark = pytest.mark.filterwarnings("ignore")

LABELS = np.repeat(np.arange(3, dtype=np.int32), [50, 7, 4])[::-1]
ROWS = np.arange(len(LABELS), dtype=np.int32)
SMALL = MlpSpec(dense=[8])
TRAIN = TrainSpec(epochs=2, batch_size=20, seed=5, optimizer=OptimizerSpec("sgd", 0.1))


def balance(kind: str, seed: int = 1) -> Balance:
    return Balance(kind, ROWS, LABELS, 3, seed)


@pytest.mark.parametrize(
    ("kind", "per_class"),
    [("none", [50, 7, 4]), ("oversample", [50, 50, 50]), ("undersample", [4, 4, 4])],
)
def test_rows_per_class_and_epoch(kind, per_class):
    for epoch in range(5):
        rows = balance(kind).rows_of(epoch)
        assert np.bincount(LABELS[rows]).tolist() == per_class
        assert len(rows) == balance(kind).rows_per_epoch


@pytest.mark.parametrize("kind", ["oversample", "undersample"])
def test_rows_are_drawn_evenly(kind):
    """In each epoch, and over any number of them, up to one."""
    counts = np.zeros(len(ROWS), int)
    for epoch in range(20):
        drawn = np.bincount(balance(kind).rows_of(epoch), minlength=len(ROWS))
        counts += drawn
        for label in range(3):
            for found in (drawn, counts):
                assert np.ptp(found[label == LABELS]) <= 1
    assert counts.min() > 0, "every row is used in the end"


def test_draws_depend_on_epoch_and_seed():
    for kind in ("oversample", "undersample"):
        first = sorted(balance(kind).rows_of(0))
        assert sorted(balance(kind).rows_of(0)) == first
        assert sorted(balance(kind).rows_of(1)) != first
        assert sorted(balance(kind, seed=2).rows_of(0)) != first


def test_validation_rows_are_not_drawn():
    mine = ROWS[::2]
    for kind in ("oversample", "undersample"):
        assert set(Balance(kind, mine, LABELS, 3, 1).rows_of(3)) <= set(mine)


def test_class_weights_match_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    weights = balance("class_weight").class_weights
    assert weights is not None
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.arange(3), y=LABELS), rtol=1e-6
    )
    assert balance("class_weight").about()["weights"] == pytest.approx([61 / 150, 61 / 21, 61 / 12])


def test_balance_table_shows_each_class():
    assert balance("oversample").table(["cat", "dog", "aardvark"]).splitlines() == [
        "balance: oversample",
        "  class          rows  rows in an epoch",
        "  cat              50                50",
        "  dog               7                50",
        "  aardvark          4                50",
    ]
    assert balance("class_weight").table([]).splitlines()[-1].split() == ["2", "4", "5.083"]
    assert balance("undersample").about() == {
        "kind": "undersample", "rows": [50, 7, 4], "rows_per_epoch": [4, 4, 4],
    }  # fmt: skip


@each_keras
@tensorflow_run
def test_run_reports_its_balance(make_run, run_trainer, arrays):
    """In both images."""
    folder = make_run(train=replace(TRAIN, balance="undersample"))
    keep = (arrays["y_train"] > 0) | (np.arange(301) < 30)
    np.savez(
        folder.path / "data.npz",
        **{**arrays, "x_train": arrays["x_train"][keep], "y_train": arrays["y_train"][keep]},
    )
    folder = run_trainer(folder)

    assert folder.status == 0, folder.stderr
    assert (
        "  0             10                10\n  1            100                10"
        in folder.stdout
    )
    result = folder.json("result.json")
    assert result["balance"] == {
        "kind": "undersample",
        "rows": [10, 100, 100],
        "rows_per_epoch": [10, 10, 10],
    }
    assert (result["steps"], result["data"]["rows_train"]) == (4, 210)


@pytest.fixture
def make_uneven(tf, strategies, arrays, tmp_path):
    """Trainings on rows of which the third class has a tenth, and these rows."""
    rows = np.flatnonzero((arrays["y_train"] != 2) | (np.arange(301) % 30 == 2))[:61]
    uneven = {**arrays, "x_train": arrays["x_train"][rows], "y_train": arrays["y_train"][rows]}

    def make(train, replicas=1, name="run"):
        return Training(tf, strategies[replicas], uneven, tmp_path / name, SMALL, train)

    return make, uneven


@tensorflow_run
def test_class_weight_trains_like_fit(make_uneven, tf):
    make, rows = make_uneven
    train = replace(
        TRAIN, epochs=1, batch_size=61, balance="class_weight", optimizer=OptimizerSpec("sgd", 1.0)
    )
    ours, keras = make(train), make(train, name="fit").model
    labels = rows["y_train"]
    weights = dict(enumerate(61 / (3 * np.bincount(labels))))
    images = rows["x_train"][..., None] / np.float32(255)
    keras.fit(images, labels, batch_size=61, class_weight=weights, verbose=0)
    ours()

    for mine, theirs in zip(ours.weights(), keras.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    history = keras.history.history
    assert ours.losses()[0] == (
        1,
        *(pytest.approx(history[name][0], rel=1e-5) for name in ("loss", "accuracy")),
    )
    plain = make(replace(train, balance="none"), name="plain")()
    assert abs(plain.weights()[0] - ours.weights()[0]).max() > 1e-3


@tensorflow_run
@pytest.mark.parametrize("kind", ["class_weight", "oversample"])
def test_two_replicas_balance_like_one(make_uneven, kind):
    train = replace(TRAIN, balance=kind, batch_size=15)
    one, two = (make_uneven[0](train, replicas, str(replicas))() for replicas in (1, 2))
    for mine, yours in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-5)


@tensorflow_run
@pytest.mark.parametrize("kind", ["class_weight", "undersample"])
def test_interrupted_balanced_run_is_exact(make_uneven, kind):
    train = replace(TRAIN, balance=kind, epochs=4, optimizer=OptimizerSpec("adam", 0.01))
    make, _ = make_uneven
    whole = make(train, name="whole")()
    with pytest.raises(Stopped):
        make(train, name="parts")(call_s=0, stop_after=3)
    resumed = make(train, name="parts")()
    for mine, yours in zip(whole.weights(), resumed.weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert whole.state["step"] == 4 * whole.stepper.steps_per_epoch
