"""Schedules, penalties, clipping, labels, precision, XLA and resnets, on one and two replicas.

The first part imports no TensorFlow, so that it runs against the Python of a container.
"""

import json
import math
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.checks import check_spec
from hpcdl.contract.errors import Stopped, UserCodeError
from hpcdl.contract.spec import (
    CnnSpec,
    DataSpec,
    DeviceSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    ResnetSpec,
    SavingSpec,
    ScheduleSpec,
    SpecError,
    TrainSpec,
)
from hpcdl.contract.train_spec import ScaleSpec
from hpcdl.trainer.fit.last_batch import warning_of_last_batch
from tests.trainer.conftest import each_keras

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


@each_keras
def test_run_with_everything(make_run, run_trainer):
    """In both images: it trains, logs the learning rate of each epoch, and goes on after a stop."""
    sections = {
        "model": ResnetSpec(filters=[4, 8], blocks=1, dropout=0.2, l2=1e-4),
        "train": replace(
            EVERYTHING, labels="one_hot", balance="oversample", precision="mixed_float16"
        ),
        "data": DataSpec(
            path="data.npz", augment=[{"rotate": 10}, {"cutout": 0.2}], validation_split=0.1
        ),
        "saving": SavingSpec(every_steps=20, keep=9),
    }
    folder = run_trainer(make_run(**sections))

    assert folder.status == 0, folder.stderr
    rates = [line["learning_rate"] for line in folder.metrics()]
    assert 0.01 > rates[0] > rates[1] > rates[2] >= 0
    assert folder.metrics()[-1]["loss"] < folder.metrics()[0]["loss"]
    result = folder.json("result.json")
    assert (result["model"]["name"], result["precision"]) == ("resnet", "mixed_float16")
    assert "precision: mixed_float16 (train.precision)" in folder.stdout
    assert "cannot save" not in folder.stdout

    again = make_run(**sections)
    (again.path / "checkpoints").mkdir()
    shutil.copy(folder.path / "checkpoints" / "00000020.npz", again.path / "checkpoints")
    again = run_trainer(again)
    assert "(step 20)" in again.stdout
    for name, array in folder.newest_arrays().items():
        np.testing.assert_array_equal(again.newest_arrays()[name], array)
    assert again.json("result.json")["test"] == result["test"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label_smoothing": 1.0}, "train.label_smoothing is 1.0; expected < 1"),
        (
            {"schedule": ScheduleSpec("linear")},
            "train.schedule.name is 'linear'; expected one of constant, step",
        ),
        (
            {"schedule": ScheduleSpec("step", factor=2.0)},
            "train.schedule.factor is 2.0; expected <= 1",
        ),
        (
            {"optimizer": OptimizerSpec(clip_norm=0.0)},
            "train.optimizer.clip_norm is 0.0; expected > 0",
        ),
    ],
)
def test_bad_options_are_named(spec, changes, said):
    with pytest.raises(SpecError, match=said.replace(".", r"\.")):
        check_spec(
            replace(spec, data=replace(spec.data, path="d.npz"), train=replace(TRAIN, **changes))
        )


def rates(name: str, **settings: Any) -> list[float]:
    """The rates of 40 steps, ten to an epoch, from 1.0 on."""
    import tensorflow as tf

    from hpcdl.trainer.fit.schedule import rate_of

    rate = rate_of(ScheduleSpec(name, **settings), 1.0, steps_per_epoch=10, epochs=4)
    return [float(rate(tf.constant(step, tf.int64))) for step in range(40)]


@tensorflow_run
def test_rates_of_each_schedule(tf):
    assert rates("constant") == [1.0] * 40
    assert rates("step", factor=0.5, every_epochs=2) == [1.0] * 20 + [0.5] * 20
    np.testing.assert_allclose(
        rates("exponential"), [0.1 ** (step / 10) for step in range(40)], rtol=1e-5
    )
    half = [(1 + math.cos(math.pi * step / 40)) / 2 for step in range(40)]
    np.testing.assert_allclose(rates("cosine"), half, atol=1e-6)
    np.testing.assert_allclose(
        rates("cosine", factor=0.2), [0.2 + 0.8 * value for value in half], atol=1e-6
    )


@tensorflow_run
def test_warmup_comes_before_schedule(tf):
    warmed = rates("step", warmup_epochs=1, factor=0.5, every_epochs=2)

    np.testing.assert_allclose(warmed[:10], [0.1 * (step + 1) for step in range(10)], rtol=1e-6)
    assert warmed[10:30] == [1.0] * 20
    assert warmed[30:] == [0.5] * 10


@tensorflow_run
def test_scaled_rate_grows_from_optimizers(tf):
    from hpcdl.trainer.fit.schedule import grown, rate_of

    base = rate_of(ScheduleSpec("constant"), 0.1, steps_per_epoch=10, epochs=4)
    warmed = [float(grown(base, 4.0, warm_steps=20)(step)) for step in range(40)]
    at_once = float(grown(base, 4.0, warm_steps=0)(0))

    growing = [0.1 + 0.3 * (step + 1) / 20 for step in range(20)]
    np.testing.assert_allclose(warmed, growing + [0.4] * 20, rtol=1e-6)
    assert at_once == pytest.approx(0.4)


@tensorflow_run
def test_scaled_run_equals_higher_rate(make_training):
    """Two GPUs' rate by the linear rule is the doubled rate of the optimizer."""
    scaled = replace(
        TRAIN,
        epochs=1,
        batch_size_per_gpu=TRAIN.batch_size // 2,
        scale_learning_rate=ScaleSpec("linear", warmup_epochs=0),
    )
    assert TRAIN.optimizer.learning_rate is not None
    optimizer = replace(TRAIN.optimizer, learning_rate=2 * TRAIN.optimizer.learning_rate)
    doubled = replace(TRAIN, epochs=1, optimizer=optimizer)

    by_rule = make_training(SMALL, scaled, name="scaled")()
    by_hand = make_training(SMALL, doubled, name="doubled")()

    for one, other in zip(by_rule.weights(), by_hand.weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@tensorflow_run
def test_bounded_epochs_have_other_rows(make_training):
    """Two steps of twenty rows out of 61, each epoch another part of all rows."""
    bounded = make_training(SMALL, replace(TRAIN, epochs=2, steps_per_epoch=2), name="bounded")
    orders = []
    for epoch in (0, 1):
        bounded.stepper(2 * epoch, 1)
        orders.append(set(bounded.stepper._order.numpy().tolist()))
    bounded = make_training(SMALL, replace(TRAIN, epochs=2, steps_per_epoch=2), name="again")()

    assert [len(order) for order in orders] == [40, 40]
    assert orders[0] != orders[1]
    assert bounded.state["step"] == 4
    assert [line["steps"] for line in bounded.run_dir.read_metrics()] == [2, 2]


@tensorflow_run
def test_wide_bound_changes_nothing(make_training):
    bounded = make_training(SMALL, replace(TRAIN, epochs=1, steps_per_epoch=9), name="bounded")()
    plain = make_training(SMALL, replace(TRAIN, epochs=1), name="plain")()

    for one, other in zip(bounded.weights(), plain.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@tensorflow_run
@pytest.mark.parametrize("replicas", [1, 2])
def test_timing_of_parts_trains_nothing(make_training, replicas):
    from hpcdl.trainer.fit.gradient_sums import gradient_sum_s
    from hpcdl.trainer.fit.input_speed import input_images_per_s

    training = make_training(SMALL, TRAIN, replicas, augment=[{"flip": "both"}, {"rotate": 10}])
    before = training.weights()
    stepper = training.stepper

    assert input_images_per_s(stepper._data, stepper.strategy, TRAIN) > 0
    assert (gradient_sum_s(stepper.model, stepper.strategy) > 0) is (replicas > 1)
    for one, other in zip(before, training.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("rows", "batch_size", "says"),
    [
        (5401, 100, "has 1 of 100 rows"),
        (5401, 100, "try train.batch_size 99 or 102"),
        (1003, 50, "has 3 of 50 rows"),
    ],
)
def test_small_last_batch_is_said(rows, batch_size, says):
    assert says in str(warning_of_last_batch(rows, batch_size))


@pytest.mark.parametrize(("rows", "batch_size"), [(5400, 100), (5410, 100), (60, 100), (100, 1)])
def test_usual_last_batch_is_not(rows, batch_size):
    assert warning_of_last_batch(rows, batch_size) is None


@tensorflow_run
def test_scheduled_run_equals_manual_run(make_training):
    """Epochs at falling rates give the weights of plain steps at those rates."""
    train = replace(TRAIN, epochs=2, schedule=ScheduleSpec("step", factor=0.5))
    by_schedule = make_training(SMALL, train, name="schedule")()
    by_hand = make_training(SMALL, replace(TRAIN, epochs=2), name="hand")

    def halve():
        by_hand.model.optimizer.learning_rate.assign(0.05)
        return {}

    by_hand.validate = halve  # at the end of each epoch
    by_hand()

    for one, other in zip(by_schedule.weights(), by_hand.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@tensorflow_run
@pytest.mark.parametrize("replicas", [1, 2])
def test_interrupted_full_options_are_exact(make_training, replicas):
    """Every option of the model and the training is on."""
    model = CnnSpec(
        filters=[4],
        dense=[8],
        dropout=0.3,
        batch_norm=True,
        l1=1e-4,
        l2=1e-3,
        initializer="he_normal",
    )
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
def test_options_train_alike_on_two_replicas(make_training, train):
    model = MlpSpec(dense=[8], l2=0.01)
    one, two = (
        make_training(model, train, 1, name="one")(),
        make_training(model, train, 2, name="two")(),
    )
    plain = make_training(
        model, replace(TRAIN, optimizer=replace(train.optimizer, clip_norm=None, weight_decay=None))
    )()

    for mine, yours in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-5)
    assert any(
        abs(mine - yours).max() > 1e-3
        for mine, yours in zip(one.weights(), plain.weights(), strict=True)
    )


@tensorflow_run
def test_loss_includes_penalty_and_smoothing(make_training):
    plain = make_training(SMALL, TRAIN, name="plain")().losses()
    penalised = make_training(replace(SMALL, l2=0.1), TRAIN, name="l2")().losses()
    smoothed = make_training(SMALL, replace(TRAIN, label_smoothing=0.5), name="smooth")().losses()

    assert penalised[0][1] > plain[0][1]
    assert smoothed[-1][1] > plain[-1][1]


@tensorflow_run
def test_smoothed_loss_of_known_outputs(tf):
    from hpcdl.trainer.model.compiling import loss

    outputs = tf.constant([[0.7, 0.2, 0.1]])
    wanted = np.array(
        [0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3]
    )  # 0.2 of the label spread over three classes
    value = loss(False, 0.2)(tf.constant([[0]]), outputs)

    np.testing.assert_allclose(value, [-(wanted * np.log([0.7, 0.2, 0.1])).sum()], rtol=1e-5)


@tensorflow_run
def test_resnet_has_its_layers(tf):
    from hpcdl.trainer.model.models import build

    model = build(ResnetSpec(filters=[4, 8], blocks=2), (8, 8, 1), 3)

    convolutions = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Conv2D)]
    assert (
        len(convolutions) == 1 + 4 * 2 + 1
    )  # the first, two in each block, and one where the size changes
    assert model.layers[-3].output.shape[1:3] == (4, 4)
    assert model.output.shape == (None, 3)


@tensorflow_run
def test_one_hot_trains_as_integers(make_training):
    """Validation and the shorter last batch of two replicas included."""
    train = replace(TRAIN, early_stopping=EarlyStoppingSpec("val_accuracy"), balance="class_weight")
    numbers, one_hot = (
        make_training(SMALL, replace(train, labels=labels), 2, name=labels)()
        for labels in ("integers", "one_hot")
    )

    for mine, yours in zip(numbers.weights(), one_hot.weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-5)
    for mine, yours in zip(
        numbers.run_dir.read_metrics(), one_hot.run_dir.read_metrics(), strict=True
    ):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert mine[name] == pytest.approx(yours[name], rel=1e-4)


COMPILED = """
import tensorflow as tf

def model(input_shape, classes, loss, outputs=3):
    layers = tf.keras.layers
    built = tf.keras.Sequential(
        [tf.keras.Input(input_shape), layers.Flatten(), layers.Dense(outputs, activation="softmax")]
    )
    built.compile("sgd", loss if loss.islower() else getattr(tf.keras.losses, loss)(), metrics=["accuracy"])
    return built
"""


@pytest.fixture
def compiled(make_training, tmp_path, monkeypatch):
    (tmp_path / "compiled_models.py").write_text(COMPILED)
    monkeypatch.syspath_prepend(tmp_path)

    def make(labels, **args):
        return make_training(
            FunctionSpec("compiled_models:model", args), replace(TRAIN, labels=labels)
        )

    return make


@tensorflow_run
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "CategoricalCrossentropy", "mse"])
def test_compiled_model_gets_one_hot_labels(compiled, loss):
    losses = compiled("one_hot", loss=loss)().losses()
    assert losses[-1][1] < losses[0][1] < 2


@tensorflow_run
@pytest.mark.parametrize(
    ("labels", "args", "said"),
    [
        (
            "integers",
            {"loss": "categorical_crossentropy"},
            "takes one-hot; train.labels is integers",
        ),
        (
            "one_hot",
            {"loss": "SparseCategoricalCrossentropy"},
            "sparse_categorical_crossentropy, which takes integers",
        ),
        (
            "integers",
            {"loss": "sparse_categorical_crossentropy", "outputs": 2},
            "has 2 outputs, but the data set has 3",
        ),
        (
            "one_hot",
            {"loss": "CategoricalCrossentropy", "outputs": 4},
            "has 4 outputs, but the data set has 3 classes",
        ),
    ],
)
def test_compiled_model_with_other_labels(compiled, labels, args, said):
    with pytest.raises(UserCodeError, match=said):
        compiled(labels, **args)


@tensorflow_run
def test_compiled_model_may_have_more_outputs(compiled):
    compiled("integers", loss="sparse_categorical_crossentropy", outputs=5)()


@pytest.mark.parametrize("monitor", ["val_loss", "accuracy"])
@tensorflow_run
def test_plateau_matches_keras(tf, monitor):
    """Value by value, the rate that ReduceLROnPlateau sets; 0.0001 is not an improvement."""
    from hpcdl.trainer.fit.schedule import Plateau

    values = [
        3.0,
        2.0,
        2.0,
        1.99995,
        2.5,
        math.nan,
        1.0,
        0.9,
        1.1,
        1.1,
        0.8,
        0.9,
        0.9,
        0.9,
        0.9,
        0.9,
    ]
    keras = tf.keras.callbacks.ReduceLROnPlateau(
        monitor, factor=0.5, patience=2, mode="max" if monitor == "accuracy" else "min"
    )
    keras.set_model(tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)]))
    keras.model.compile(tf.keras.optimizers.SGD(0.8))
    keras.on_train_begin()
    plateau, state = (
        Plateau(ScheduleSpec("plateau", factor=0.5, patience=2, monitor=monitor), 0.8),
        {"plateau": None},
    )
    seen = set()
    for epoch, value in enumerate(values):
        keras.on_epoch_end(epoch, {monitor: value})
        plateau.judge(state, {monitor: value})
        state = json.loads(json.dumps(state, allow_nan=False))  # as through a checkpoint
        seen.add(plateau.scale(state))
        assert 0.8 * plateau.scale(state) == pytest.approx(
            float(np.asarray(keras.model.optimizer.learning_rate))
        )
    assert len(seen) >= 3


PLATEAU = replace(
    TRAIN,
    epochs=8,
    early_stopping=EarlyStoppingSpec(patience=20),
    schedule=ScheduleSpec("plateau", patience=1, factor=0.5, warmup_epochs=1.5),
    optimizer=OptimizerSpec("adam", 0.05),
)


@tensorflow_run
def test_interrupted_plateau_is_bit_identical(make_training, capsys):
    whole = make_training(SMALL, PLATEAU, name="whole")()
    log = [line for line in capsys.readouterr().out.splitlines() if "learning rate" in line]
    rates = [line["learning_rate"] for line in whole.run_dir.read_metrics()]
    assert whole.state["plateau"]["times"] == len(log) >= 2
    assert log[0] == "val_loss has not improved for 1 epoch: learning rate 0.05 -> 0.025"
    assert rates[0] < max(rates)
    assert rates[-1] <= 0.0125

    for stop in (9, 13):
        with pytest.raises(Stopped):
            make_training(SMALL, PLATEAU, name="parts")(call_s=0, stop_after=stop)
    resumed = make_training(SMALL, PLATEAU, name="parts")()
    for one, other in zip(whole.weights(), resumed.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.losses() == resumed.losses()
    assert whole.state["plateau"] == resumed.state["plateau"]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (
            ScheduleSpec("plateau"),
            "monitor is 'val_loss'; expected a metric without val_, or data.validation_split",
        ),
        (
            ScheduleSpec("plateau", monitor="auc"),
            "train.schedule.monitor is 'auc'; expected one of loss, accuracy",
        ),
    ],
)
def test_plateau_of_missing_metric(spec, schedule, said):
    with pytest.raises(SpecError, match=said):
        check_spec(replace(spec, train=replace(TRAIN, schedule=schedule)))


def test_xla_compiles_for_one_device(spec):
    with pytest.raises(
        SpecError, match=r"train.jit is 'on'; expected auto .*: XLA compiles for one device"
    ):
        check_spec(replace(spec, devices=DeviceSpec(gpus=2), train=replace(TRAIN, jit="on")))


@tensorflow_run
@pytest.mark.parametrize(
    ("precision", "replicas"), [("mixed_float16", 1), ("mixed_float16", 2), ("mixed_bfloat16", 1)]
)
def test_interrupted_mixed_precision_is_exact(make_training, precision, replicas):
    """The weights, the losses and the loss scale continue bit for bit."""
    model = MlpSpec(dense=[8], dropout=0.3, batch_norm=True)
    train = replace(EVERYTHING, precision=precision)
    whole = make_training(model, train, replicas, name="whole")()
    with pytest.raises(Stopped):
        make_training(model, train, replicas, name="parts")(call_s=0, stop_after=6)
    resumed = make_training(model, train, replicas, name="parts")()

    for one, other in zip(whole.weights(), resumed.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.losses() == resumed.losses()
    assert whole.model.layers[0].compute_dtype == precision[len("mixed_") :]
    assert whole.model.layers[-1].compute_dtype == "float32"
    rates = [line["learning_rate"] for line in whole.run_dir.read_metrics()]
    assert 0.01 > rates[0] > rates[1] > rates[2] >= 0


@tensorflow_run
@pytest.mark.parametrize("replicas", [1, 2])
def test_overflowing_steps_are_skipped(make_training, strategies, replicas):
    """The loss itself is fine: training goes on at a smaller scale, which checkpoints hold."""
    train = replace(
        TRAIN, precision="mixed_float16", optimizer=OptimizerSpec("sgd", 0.1, clip_norm=1.0)
    )
    training = make_training(SMALL, train, replicas)
    begun = training.weights()
    scale, steps = scale_of(training.model)
    scale.assign(2.0**24)
    with pytest.raises(Stopped):
        training(call_s=0, stop_after=3)
    for one, other in zip(begun, training.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    resumed = make_training(SMALL, train, replicas)()
    scale, steps = (
        strategies[replicas].experimental_local_results(each) for each in scale_of(resumed.model)
    )
    assert all(float(copy) == float(scale[0]) <= 2.0**20 for copy in scale)
    assert all(int(copy) == int(steps[0]) for copy in steps)
    assert any(
        abs(one - other).max() > 0 for one, other in zip(begun, resumed.weights(), strict=True)
    )
    assert all(np.isfinite(array).all() for array in resumed.weights())


def scale_of(model):
    from hpcdl.trainer import compat

    found = compat.optimizer_variables(model.optimizer)[-2:]
    return [compat.tensorflow_variable(variable) for variable in found]


@tensorflow_run
def test_precision_is_float32_unless_asked(tf, monkeypatch):
    """Nobody has measured what mixed precision gains here, so it is not chosen for anybody."""
    from hpcdl.trainer.model.precision import choose_policy

    assert choose_policy("auto") == ("float32", "auto")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0"])
    assert choose_policy("auto")[0] == "float32"
    assert "mixed_float16" in choose_policy("auto")[1]
    assert choose_policy("mixed_bfloat16") == ("mixed_bfloat16", "train.precision")


@tensorflow_run
def test_compiled_steps_are_the_same(make_training):
    """But for dropout, of which XLA draws other numbers."""
    model = CnnSpec(filters=[4], dense=[8], batch_norm=True, l2=1e-3)
    augment = [{"rotate": 20}, {"cutout": 0.2}]
    off, on = (
        make_training(model, replace(EVERYTHING, jit=jit), name=jit, augment=augment)()
        for jit in ("off", "on")
    )

    for one, other in zip(off.weights(), on.weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    for one, other in zip(off.losses(), on.losses(), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@tensorflow_run
def test_interrupted_compiled_run_is_bit_identical(make_training):
    model, train = MlpSpec(dense=[8], dropout=0.3), replace(EVERYTHING, jit="on")
    whole = make_training(model, train, name="whole")()
    with pytest.raises(Stopped):
        make_training(model, train, name="parts")(call_s=0, stop_after=6)
    resumed = make_training(model, train, name="parts")()
    for one, other in zip(whole.weights(), resumed.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


UNCOMPILABLE = """
import tensorflow as tf

class Where(tf.keras.layers.Layer):
    def call(self, inputs):
        return tf.ensure_shape(tf.numpy_function(lambda array: array, [inputs], tf.float32), inputs.shape)

def model(input_shape, classes):
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [tf.keras.Input(input_shape), Where(), layers.Flatten(), layers.Dense(classes, activation="softmax")]
    )
"""


@tensorflow_run
def test_uncompilable_xla_code_is_reported(make_training, tmp_path, monkeypatch):
    (tmp_path / "xla_models.py").write_text(UNCOMPILABLE)
    monkeypatch.syspath_prepend(tmp_path)
    training = make_training(FunctionSpec("xla_models:model"), replace(TRAIN, jit="on"))
    with pytest.raises(
        SpecError, match=r"train.jit is on, but XLA cannot compile this training; expected off"
    ):
        training()
