"""What a step does depends on the seed and its number alone: not on chunks, stops or replicas."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.errors import Stopped, Unsaved, UserCodeError
from hpcdl.contract.spec import CnnSpec, FunctionSpec, MlpSpec, OptimizerSpec, SavingSpec, TrainSpec
from hpcdl.trainer.dataset.load import Part

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore"),
]  # what TensorFlow warns of is not ours

SEED = 5
TRAIN = TrainSpec(epochs=2, batch_size=20, seed=SEED, optimizer=OptimizerSpec("adam", 0.01))
RANDOM = MlpSpec(dense=[8, 8], dropout=0.3, batch_norm=True)
EXACT = MlpSpec(dense=[8, 8])


@pytest.fixture
def training(make_training):
    return lambda model, replicas=1, name="run", train=TRAIN, **rest: make_training(
        model, train, replicas, name, **rest
    )


def assert_same(one, other):
    for mine, yours in zip(one.weights(), other.weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert one.losses() == other.losses()


@pytest.mark.parametrize("replicas", [1, 2])
def test_weights_depend_on_seed_only(training, replicas):
    """Neither the number of steps in a call nor a stop changes the weights."""
    whole = training(RANDOM, replicas)()
    assert [epoch for epoch, *_ in whole.losses()] == [1, 2]
    with pytest.raises(Stopped, match="step 3 of 8"):
        training(RANDOM, replicas, "stopped")(call_s=0, stop_after=3)
    resumed = training(RANDOM, replicas, "stopped")(
        call_s=0
    )  # a step a call, where the whole run took eight
    assert_same(resumed, whole)


DRAWING = """
import numpy as np
import tensorflow as tf

class Flip(tf.keras.layers.Layer):
    "Decides in Python, once for each graph, as RandomFlip of Keras 2.11 does."
    def call(self, inputs, training=None):
        return inputs * float(np.random.choice([-1, 1], 8)[-1]) if training else inputs

def model(input_shape, classes):
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input(input_shape), Flip(), Flip(), layers.Flatten(), layers.Dense(classes, activation="softmax")
    ])
"""


def test_python_random_layers_are_exact(training, tmp_path, monkeypatch):
    """Layers that draw in Python when a graph is built are the same after a resume."""
    (tmp_path / "drawing_models.py").write_text(DRAWING)
    monkeypatch.syspath_prepend(tmp_path)
    model = FunctionSpec("drawing_models:model")
    whole = training(model)()
    with pytest.raises(Stopped, match="step 3 of 8"):
        training(model, name="stopped")(call_s=0, stop_after=3)
    assert_same(training(model, name="stopped")(), whole)  # it begins with the short batch's graph


@pytest.mark.parametrize("model", [RANDOM, EXACT], ids=["batch_norm", "plain"])
def test_replicas_end_with_the_same_model(training, strategies, model):
    trained = training(model, 2)()
    for variable in trained.model.weights:
        first, second = strategies[2].experimental_local_results(
            getattr(variable, "_value", variable)
        )
        np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_another_seed_gives_other_weights(training):
    one = training(EXACT)()
    other = training(EXACT, name="other", train=replace(TRAIN, seed=6))()
    assert not np.array_equal(one.weights()[0], other.weights()[0])


@pytest.mark.parametrize("batch_size", [20, 15], ids=["even", "uneven"])
def test_two_replicas_train_like_one(training, batch_size):
    train = replace(TRAIN, batch_size=batch_size, optimizer=OptimizerSpec("sgd", 0.1))
    one, two = (training(EXACT, replicas, str(replicas), train=train)() for replicas in (1, 2))
    for mine, yours in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("replicas", [1, 2])
def test_bad_loss_names_its_exact_step(training, replicas):
    train = replace(TRAIN, optimizer=OptimizerSpec("sgd", 1e25))
    messages = []
    for name, call_s in (("chunks", 1.0), ("steps", 0)):
        with pytest.raises(UserCodeError) as caught:
            training(EXACT, replicas, name, train=train)(call_s=call_s)
        messages.append(caught.value.message)
        assert "learning_rate" in caught.value.hint
    assert messages[0] == messages[1]
    assert messages[0].startswith(
        ("loss became nan at epoch 1 step ", "loss became inf at epoch 1 step ")
    )


@pytest.mark.cases("fault 0")
def test_two_replicas_report_like_one(training):
    train = replace(TRAIN, optimizer=OptimizerSpec("sgd", 0.1))
    one, two = (
        training(EXACT, replicas, str(replicas), train=train, rows=60)() for replicas in (1, 2)
    )
    for mine, yours in zip(two.losses(), one.losses(), strict=True):
        assert mine == pytest.approx(yours, rel=1e-4)


@pytest.mark.cases("fault 0")
@pytest.mark.parametrize("replicas", [1, 2])
def test_every_row_is_scored_once(tf, training, arrays, replicas):
    from hpcdl.trainer.dataset import source as batches
    from hpcdl.trainer.fit.evaluation import Evaluator

    trained = training(EXACT, replicas)()
    images, labels = arrays["x_test"][..., None], arrays["y_test"].astype("i4")
    source = batches.Source(Part(images, labels, 1 / 255))
    evaluator = Evaluator(trained.model, trained.stepper.strategy, source, batch_rows=25)
    scores = evaluator(np.arange(101, dtype=np.int32), lambda: None)
    outputs = np.asarray(trained.model(images.astype("f4") / 255, training=False))
    assert scores["accuracy"] == pytest.approx(np.mean(outputs.argmax(1) == labels), abs=1e-6)
    assert scores["loss"] == pytest.approx(
        -np.mean(np.log(outputs[np.arange(101), labels])), rel=1e-4
    )


COMPILED = """
import tensorflow as tf

class Rows(tf.keras.metrics.Metric):
    "A metric of the user's own: how many rows it was shown."
    def __init__(self):
        super().__init__(name="rows")
        self.rows = self.add_weight(name="rows", shape=(), initializer="zeros")

    def update_state(self, labels, outputs, sample_weight=None):
        self.rows.assign(self.rows + tf.cast(tf.shape(labels)[0], tf.float32))

    def result(self):
        return tf.convert_to_tensor(self.rows)

def metrics():
    return [tf.keras.metrics.AUC(name="auc"), Rows()]

def weighted_metrics():
    return [tf.keras.metrics.CategoricalAccuracy(name="share"), tf.keras.metrics.Recall(name="recall")]

def model(input_shape, classes):
    layers = tf.keras.layers
    made = tf.keras.Sequential(
        [tf.keras.Input(input_shape), layers.Flatten(), layers.Dense(classes, activation="softmax")]
    )
    given = {"metrics": metrics(), "weighted_metrics": weighted_metrics()}
    made.compile(tf.keras.optimizers.SGD(0.1), "categorical_crossentropy", **given)
    return made
"""


@pytest.mark.cases("fault 0")
@pytest.mark.parametrize("replicas", [1, 2])
def test_compiled_metrics_score_rows_once(tf, training, arrays, tmp_path, monkeypatch, replicas):
    """On one replica and on two, each row counts once."""
    from hpcdl.trainer.dataset import source as batches
    from hpcdl.trainer.fit.evaluation import Evaluator

    (tmp_path / "scored_models.py").write_text(COMPILED)
    monkeypatch.syspath_prepend(tmp_path)
    trained = training(
        FunctionSpec("scored_models:model"), replicas, train=replace(TRAIN, labels="one_hot")
    )()
    images, labels = arrays["x_test"][..., None], arrays["y_test"].astype("i4")
    source = batches.Source(Part(images, labels, 1 / 255), one_hot=3)
    scores = Evaluator(trained.model, trained.stepper.strategy, source, batch_rows=25)(
        np.arange(101), lambda: None
    )
    outputs = trained.model(images.astype("f4") / 255, training=False)
    own = sys.modules["scored_models"]
    for metric in [*own.metrics(), *own.weighted_metrics()]:
        metric.update_state(tf.one_hot(labels, 3), outputs)
        assert scores[metric.name] == pytest.approx(float(metric.result()), rel=1e-5), metric.name
    assert scores["rows"] == 101


def test_replica_shares_cover_each_batch(tf):
    """The shares' weights make the mean of their means the mean of the batch."""
    from hpcdl.trainer.dataset.source import share

    for rows in range(1, 12):
        for replicas in (1, 2, 3, 4):
            shares = [share(rows, replicas, replica) for replica in range(replicas)]
            counted = [
                row for first, last, weight in shares if weight for row in range(first, last)
            ]
            assert counted == list(range(rows))
            for (
                first,
                last,
                weight,
            ) in shares:  # the mean of means gives each row the weight 1 / rows
                assert weight == 0 or weight / (last - first) / replicas == pytest.approx(1 / rows)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [(CnnSpec(filters=[32, 64], kernel_size=5), 62_346), (MlpSpec(dense=[500, 500, 500]), 898_510)],
)
def test_parameter_counts_of_the_reference_models(tf, model, parameters):
    from hpcdl.trainer.model import models

    assert models.build(model, (28, 28, 1), 10).count_params() == parameters


def test_every_option_of_the_models_builds(tf):
    from hpcdl.trainer.model import models

    options: dict[str, Any] = {
        "batch_norm": True,
        "dropout": 0.5,
        "output": "logits",
        "activation": "elu",
    }
    cnn = models.build(
        CnnSpec(filters=[4, 4], kernel_size=[5, 3], dense=[7], **options), (12, 12, 3), 3
    )
    mlp = models.build(MlpSpec(dense=[7], **options), (12, 12, 3), 3)
    for model in (cnn, mlp):
        kinds = [type(layer).__name__ for layer in model.layers]
        assert kinds.count("BatchNormalization") == kinds.count("Activation")
        assert kinds.count("Dropout") == 1 or kinds.count("Dropout") == 2
        assert model(np.ones((5, 12, 12, 3), "f4")).shape == (5, 3)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adagrad", "nadam"])
def test_optimizers_keep_their_defaults(tf, name):
    from hpcdl.trainer.model.compiling import optimizer

    assert type(optimizer(OptimizerSpec(name))).__name__.lower() == name
    assert np.asarray(optimizer(OptimizerSpec(name, learning_rate=0.25)).learning_rate) == 0.25


def flip_byte(content):
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_torn_checkpoint_is_skipped(training, tmp_path, capsys):
    for calls in (2, 1):  # two attempts save after 2 and after 3 steps
        with pytest.raises(Stopped):
            training(EXACT)(call_s=0, stop_after=calls)
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(file.name for file in folder.iterdir()) == ["00000002.npz", "00000003.npz"]
    whole = (folder / "00000003.npz").read_bytes()
    resumed = training(EXACT)
    for damaged in (b"", whole[:-100], flip_byte(whole)):
        (folder / "00000003.npz").write_bytes(damaged)
        assert resumed.checkpoints.restore()["step"] == 2
        assert "00000003.npz is not used" in capsys.readouterr().out
    assert_same(resumed(), training(EXACT, name="whole")())


USER_MODELS = """
import tensorflow as tf

def too_narrow(input_shape, classes):
    layers = tf.keras.layers
    return tf.keras.Sequential([tf.keras.Input(input_shape), layers.Flatten(), layers.Dense(2)])

def nothing(input_shape, classes):
    pass
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "narrow_models:too_narrow",
            "gives (1, 2) for one image; expected (1, 3), a value for each class",
        ),
        ("narrow_models:nothing", "narrow_models:nothing returned None; expected a keras Model"),
        ("narrow_models:nowhere", "has no attribute 'nowhere'"),
        ("no_such_module:model", "No module named 'no_such_module'"),
    ],
)
def test_unfit_user_function_is_reported(tf, tmp_path, monkeypatch, function, message):
    from hpcdl.trainer.model import models

    (tmp_path / "narrow_models.py").write_text(USER_MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserCodeError) as caught:
        models.build(FunctionSpec(function), (10, 10, 1), 3)
    assert message in caught.value.message


def test_checkpoint_of_other_model_is_unused(training, capsys):
    with pytest.raises(Stopped):
        training(EXACT)(call_s=0, stop_after=2)
    assert training(RANDOM).checkpoints.restore() is None
    assert "its variables are not those of this model" in capsys.readouterr().out


def test_last_two_checkpoints_are_kept(training, tmp_path):
    trained = training(EXACT)
    folder = tmp_path / "run" / "checkpoints"
    for step in (1, 2, 3, 10):
        trained.checkpoints.write(trained.checkpoints.copy(step, {}))
    assert sorted(file.name for file in folder.iterdir()) == ["00000003.npz", "00000010.npz"]
    for step in (4, 5):  # where those of step 10 could not be used
        trained.checkpoints.write(trained.checkpoints.copy(step, {}))
    assert sorted(file.name for file in folder.iterdir()) == [
        "00000004.npz",
        "00000005.npz",
        "00000010.npz",
    ]


def written_steps(training, monkeypatch):
    """The steps of the checkpoints that a training writes, as it goes on."""
    steps: list[int] = []
    write = training.checkpoints.write

    def noted(snapshot):
        steps.append(snapshot.step)
        return write(snapshot)

    monkeypatch.setattr(training.checkpoints, "write", noted)
    return steps


@pytest.mark.parametrize("replicas", [1, 2])
def test_saving_by_steps_changes_nothing(training, replicas, tmp_path, monkeypatch):
    """Checkpoints come at exact steps, and the weights stay those of a run without them."""
    whole = training(RANDOM, replicas)()
    saving = training(RANDOM, replicas, "saving", saving=SavingSpec(every_steps=3))
    steps = written_steps(saving, monkeypatch)
    assert_same(saving(), whole)
    assert steps == [3, 6, 8]
    assert saving.state["saves"] == 3
    assert saving.saver.news()["saved_step"] == 8
    assert saving.saver.news()["slowest_save_s"] > 0
    folder = tmp_path / "saving" / "checkpoints"
    assert sorted(file.name for file in folder.iterdir()) == ["00000006.npz", "00000008.npz"]
    (folder / "00000008.npz").unlink()
    resumed = training(RANDOM, replicas, "saving", saving=SavingSpec(every_steps=3))
    steps = written_steps(resumed, monkeypatch)
    assert_same(resumed(), whole)
    assert (steps, resumed.state["saves"]) == ([8], 3)


def test_saving_by_seconds(training, monkeypatch):
    trained = training(
        EXACT, saving=SavingSpec(every_s=0)
    )  # as if a second had passed at each boundary
    steps = written_steps(trained, monkeypatch)
    trained(call_s=0)
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]


def test_training_leaves_copied_state_unchanged(training):
    trained = training(RANDOM)
    trained.saver.restore()
    snapshot = trained.checkpoints.copy(0, {})
    before = [array.copy() for array in snapshot.arrays]
    trained()
    for array, copy in zip(snapshot.arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_write_error_of_thread_reaches_training(training, monkeypatch):
    def full(snapshot):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("HPCDL_SAVE_RETRY_S", "0")
    trained = training(EXACT, saving=SavingSpec(every_steps=2))
    monkeypatch.setattr(trained.checkpoints, "write", full)
    with pytest.raises(Unsaved, match=r"the checkpoint of step 2 cannot be written.*No space left"):
        trained()


def test_write_is_tried_again(training, monkeypatch, capsys):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    trained = training(EXACT, name="retried", saving=SavingSpec(every_steps=2))
    write, errors = (
        trained.checkpoints.write,
        [OSError(122, "Disk quota exceeded"), OSError(30, "Read-only")],
    )

    def ill(snapshot):
        if errors:
            raise errors.pop()
        return write(snapshot)

    monkeypatch.setattr(trained.checkpoints, "write", ill)
    assert_same(trained(), training(EXACT)())
    assert capsys.readouterr().out.count("the checkpoint of step 2 cannot be written") == 2
