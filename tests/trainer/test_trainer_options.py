"""Schedules, penalties, clipping, smoothing and residual networks do what they say, alone and with two replicas.

The first part imports no TensorFlow, so that it runs against the Python of a container.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcdl.trainer.checks import check_spec
from hpcdl.trainer.errors import Stopped
from hpcdl.trainer.spec import (
    CnnSpec,
    MlpSpec,
    OptimizerSpec,
    ResnetSpec,
    ScheduleSpec,
    SpecError,
    TrainSpec,
)

tensorflow_run = pytest.mark.tensorflow
pytestmark = pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours

SMALL = MlpSpec(dense=[8])
TRAIN = TrainSpec(epochs=3, batch_size=20, seed=5, optimizer=OptimizerSpec("sgd", 0.1))
EVERYTHING = replace(
    TRAIN,
    schedule=ScheduleSpec("cosine", warmup_epochs=0.5),
    label_smoothing=0.1,
    optimizer=OptimizerSpec("adam", 0.01, weight_decay=0.01, clip_norm=0.5),
)


def test_run_with_everything(make_run, run_trainer):
    """In both images: it trains, and the log has the learning rate of each epoch."""
    model = ResnetSpec(filters=[4, 8], blocks=1, dropout=0.2, l2=1e-4)
    folder = run_trainer(make_run(model=model, train=EVERYTHING))

    assert folder.status == 0, folder.stderr
    rates = [line["learning_rate"] for line in folder.metrics()]
    assert 0.01 > rates[0] > rates[1] > rates[2] >= 0
    assert folder.metrics()[-1]["loss"] < folder.metrics()[0]["loss"]
    assert folder.json("result.json")["model"]["name"] == "resnet"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label_smoothing": 1.0}, "train.label_smoothing is 1.0; expected < 1"),
        ({"schedule": ScheduleSpec("linear")}, "train.schedule.name is 'linear'; expected one of constant, step"),
        ({"schedule": ScheduleSpec("step", factor=2.0)}, "train.schedule.factor is 2.0; expected <= 1"),
        ({"optimizer": OptimizerSpec(clip_norm=0.0)}, "train.optimizer.clip_norm is 0.0; expected > 0"),
    ],
)
def test_bad_options_are_named(spec, changes, said):
    with pytest.raises(SpecError, match=said.replace(".", r"\.")):
        check_spec(replace(spec, data=replace(spec.data, path="d.npz"), train=replace(TRAIN, **changes)))


def rates(name: str, **settings: Any) -> list[float]:
    """The rates of 40 steps, ten to an epoch, from 1.0 on."""
    import tensorflow as tf

    from hpcdl.trainer.schedule import rate_of

    rate = rate_of(ScheduleSpec(name, **settings), 1.0, steps_per_epoch=10, epochs=4)
    return [float(rate(tf.constant(step, tf.int64))) for step in range(40)]


@tensorflow_run
def test_rates_of_each_schedule(tf):
    assert rates("constant") == [1.0] * 40
    assert rates("step", factor=0.5, every_epochs=2) == [1.0] * 20 + [0.5] * 20
    np.testing.assert_allclose(rates("exponential"), [0.1 ** (step / 10) for step in range(40)], rtol=1e-5)
    half = [(1 + math.cos(math.pi * step / 40)) / 2 for step in range(40)]
    np.testing.assert_allclose(rates("cosine"), half, atol=1e-6)
    np.testing.assert_allclose(rates("cosine", factor=0.2), [0.2 + 0.8 * value for value in half], atol=1e-6)


@tensorflow_run
def test_warm_up_grows_and_then_the_schedule_begins(tf):
    warmed = rates("step", warmup_epochs=1, factor=0.5, every_epochs=2)

    np.testing.assert_allclose(warmed[:10], [0.1 * (step + 1) for step in range(10)], rtol=1e-6)
    assert warmed[10:30] == [1.0] * 20
    assert warmed[30:] == [0.5] * 10


@tensorflow_run
def test_scheduled_run_equals_one_by_hand(make_training):
    """Three epochs at falling rates give the weights of three runs' worth of plain steps at those rates."""
    train = replace(TRAIN, epochs=2, schedule=ScheduleSpec("step", factor=0.5))
    by_schedule = make_training(SMALL, train, name="schedule")()
    by_hand = make_training(SMALL, replace(TRAIN, epochs=2), name="hand")
    seen = by_hand.loop._finish_epoch

    def halve(stepper, model, *rest):
        told = seen(stepper, model, *rest)
        model.optimizer.learning_rate.assign(0.05)
        return told

    by_hand.loop._finish_epoch = halve
    try:
        by_hand()
    finally:
        by_hand.loop._finish_epoch = seen

    for one, other in zip(by_schedule.weights(), by_hand.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@tensorflow_run
@pytest.mark.parametrize("replicas", [1, 2])
def test_interrupted_run_with_everything_is_bit_identical(make_training, replicas):
    model = CnnSpec(filters=[4], dense=[8], dropout=0.3, batch_norm=True, l1=1e-4, l2=1e-3, initializer="he_normal")
    whole = make_training(model, EVERYTHING, replicas, name="whole")()

    with pytest.raises(Stopped):
        make_training(model, EVERYTHING, replicas, name="parts")(call_s=0, stop_after=6)
    resumed = make_training(model, EVERYTHING, replicas, name="parts")()

    for one, other in zip(whole.weights(), resumed.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.losses() == resumed.losses()


@tensorflow_run
@pytest.mark.parametrize(
    "train",
    [
        replace(TRAIN, optimizer=OptimizerSpec("sgd", 0.5, clip_norm=0.05)),
        replace(TRAIN, optimizer=OptimizerSpec("adam", 0.01, weight_decay=0.1)),
        replace(TRAIN, label_smoothing=0.3),
    ],
    ids=["clip_norm", "weight_decay", "label_smoothing"],
)
def test_two_replicas_train_as_one(make_training, train):
    model = MlpSpec(dense=[8], l2=0.01)
    one, two = make_training(model, train, 1, name="one")(), make_training(model, train, 2, name="two")()
    plain = make_training(
        model, replace(TRAIN, optimizer=replace(train.optimizer, clip_norm=None, weight_decay=None))
    )()

    for mine, yours in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-5)
    assert any(abs(mine - yours).max() > 1e-3 for mine, yours in zip(one.weights(), plain.weights(), strict=True))


@tensorflow_run
def test_penalty_and_smoothing_are_in_the_loss(make_training):
    plain = make_training(SMALL, TRAIN, name="plain")().losses()
    penalised = make_training(replace(SMALL, l2=0.1), TRAIN, name="l2")().losses()
    smoothed = make_training(SMALL, replace(TRAIN, label_smoothing=0.5), name="smooth")().losses()

    assert penalised[0][1] > plain[0][1]
    assert smoothed[-1][1] > plain[-1][1]


@tensorflow_run
def test_smoothed_loss_of_known_outputs(tf):
    from hpcdl.trainer.compiling import loss

    outputs = tf.constant([[0.7, 0.2, 0.1]])
    wanted = np.array([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3])  # 0.2 of the label spread over three classes
    value = loss(False, 0.2)(tf.constant([[0]]), outputs)

    np.testing.assert_allclose(value, [-(wanted * np.log([0.7, 0.2, 0.1])).sum()], rtol=1e-5)


@tensorflow_run
def test_resnet_has_its_layers(tf):
    from hpcdl.trainer.models import build

    model = build(ResnetSpec(filters=[4, 8], blocks=2), (8, 8, 1), 3)

    convolutions = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 4 * 2 + 1  # the first, two in each block, and one where the size changes
    assert model.layers[-3].output.shape[1:3] == (4, 4)
    assert model.output.shape == (None, 3)
