"""The saved model takes images as the set has them, and the code in docs/use-the-model.md uses it.

Nothing here imports TensorFlow, so that the same tests run against the Python of a container.
"""

import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.model_facts import describe_tested, describe_use
from hpcdl.contract.spec import (
    CnnSpec,
    DataSpec,
    DeviceSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    MlpSpec,
    TrainSpec,
)
from tests.trainer.conftest import REPOSITORY, each_keras

PAGE = (REPOSITORY / "docs" / "use-the-model.md").read_text()
OF_SET, OF_PHOTO, OWN_LAYERS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KEEP = "np.save(run / 'answers.npy', answers)\n"
KEEP_PHOTO = "np.save(run / 'answers.npy', answer[None])\n"
GO_ON = """
x, y = images.reshape(-1, 10, 10, 1), np.load(about["data"]["path"])["y_test"]
loss, accuracy = model.evaluate(x, y, verbose=0)
assert abs(accuracy - about["test"]["accuracy"]) < 1e-5
model.fit(x, y, verbose=0)
"""

MODELS = '''
"""A user's models: own layers and activations, subclassed ones, and what Keras cannot load."""
import tensorflow as tf

layers = tf.keras.layers


def bent(x):
    return tf.nn.relu(x) + 0.1 * x


class Times(layers.Layer):
    def __init__(self, factor, **more):
        super().__init__(**more)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return dict(super().get_config(), factor=self.factor)


class Forgetful(Times):
    def get_config(self):
        return layers.Layer.get_config(self)


class Net(tf.keras.Model):
    def __init__(self, classes, **more):
        super().__init__(**more)
        self.classes = classes
        self.times, self.flat = Times(3.0), layers.Flatten()
        self.middle, self.last = layers.Dense(4, activation=bent), layers.Dense(classes, "softmax")

    def call(self, inputs):
        return self.last(self.middle(self.flat(self.times(inputs))))

    def get_config(self):
        return {"classes": self.classes}


def sequential(shape, classes, first):
    return tf.keras.Sequential([tf.keras.Input(shape), *first, layers.Flatten(), layers.Dense(classes, "softmax")])


def subclassed(shape, classes):
    return Net(classes)


def forgetful(shape, classes):
    return sequential(shape, classes, [Forgetful(3.0)])


def coded(shape, classes):
    return sequential(shape, classes, [layers.Lambda(lambda x: x * 2.0)])


def compiled_plain(shape, classes):
    model = sequential(shape, classes, [layers.Conv2D(2, 3)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
'''
SHORT = TrainSpec(epochs=1, batch_size=20)
SMOOTH = TrainSpec(epochs=2, batch_size=20, label_smoothing=0.1)
KINDS: dict[
    str, tuple[dict[str, Any], int]
] = {  # sections of the run, and the largest value of its images
    "mixed precision": (
        {"model": CnnSpec(filters=[4]), "train": TrainSpec(epochs=1, precision="mixed_float16")},
        255,
    ),
    "logits": ({"model": MlpSpec(dense=[8], output="logits")}, 255),
    "compiled": ({"model": FunctionSpec("my:compiled_plain")}, 255),
    "floats": ({"model": MlpSpec(dense=[8]), "train": SMOOTH}, 1),
    "code": ({"model": FunctionSpec("my:coded")}, 255),
}


@pytest.fixture
def use(run_program):
    """Runs a program on a run, in the Python that trained it, and gives its answers."""

    def run(folder, program, *arguments):
        run_program(program, folder.path, *arguments)
        return np.load(folder.path / "answers.npy")

    return run


@pytest.fixture
def trained(make_run, run_trainer):
    """Runs the trainer, with the user's models beside it, as a run has them."""

    def run(arrays=None, **sections):
        folder = make_run(**{"train": SHORT, **sections})
        (folder.path / "my.py").write_text(MODELS)
        (folder.path / "user").mkdir()
        (folder.path / "user" / "my.py").write_text(MODELS)
        if arrays:
            np.savez(folder.path / "data.npz", **arrays)
        done = run_trainer(folder)
        assert done.status == 0, done.stderr
        return done

    return run


def probabilities(run):
    with np.load(run.path / "predictions.npz") as file:
        return file["probabilities"]


@each_keras
@pytest.mark.cases("F2", "F23")
@pytest.mark.tensorflow
def test_page_example_answers_like_run(trained, use):
    """Images as they are in the set give the run's own probabilities, also with label smoothing."""
    devices, data = (
        DeviceSpec(gpus=2, emulate=True),
        DataSpec(path="data.npz", validation_split=0.2),
    )
    run = trained(model=CnnSpec(filters=[4]), devices=devices, data=data, train=SMOOTH)
    result = run.json("result.json")
    go_on = OF_SET.replace(", compile=False", "") + KEEP + GO_ON
    first = KEEP.replace("answers.npy", "first.npy")

    np.testing.assert_allclose(use(run, OF_SET + first + go_on), probabilities(run), atol=1e-5)
    np.testing.assert_allclose(np.load(run.path / "first.npy"), probabilities(run), atol=1e-5)

    model = result["model"]
    assert model["input"] == {"shape": [10, 10, 1], "dtype": "float32", "range": [0, 255]}
    assert (model["needs"], result["warnings"], result["test"]["epoch"]) == ([], [], 2)
    line = (
        f"{model['file']} takes grey images of 10x10 with values from 0 to 255, gives a probability"
    )
    assert line in run.stdout
    assert describe_tested(result) in run.stdout


@each_keras
@pytest.mark.cases("F2")
@pytest.mark.tensorflow
def test_own_layers_need_their_module(trained, use):
    """The run says which file is needed, and the page loads the model with it."""
    run = trained(model=FunctionSpec("my:subclassed"))

    head, tail = OF_SET.split("\n\nimages")
    program = head.replace("model = tf", "# tf") + "\n" + OWN_LAYERS + "\nimages" + tail + KEEP
    np.testing.assert_allclose(use(run, program), probabilities(run), atol=1e-5)

    assert run.json("result.json")["model"]["needs"] == ["my.py"]
    assert "; needs my.py when it is loaded" in run.stdout


@each_keras
@pytest.mark.tensorflow
@pytest.mark.cases("F2")
@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_models(trained, use, arrays, kind):
    """Mixed precision, logits, the user's compilation, floats from 0 to 1, and code in a layer."""
    sections, high = KINDS[kind]
    changed = {**arrays, "x_train": arrays["x_train"] / 255, "x_test": arrays["x_test"] / 255}
    run = trained(changed if high == 1 else None, **sections)
    result = run.json("result.json")

    program = OF_SET + KEEP
    if "safe_mode" in result["model"] and result["versions"]["keras"].startswith("3"):
        program = program.replace("compile=False", "compile=False, safe_mode=False")
    answers = use(run, program)

    atol = 2e-3 if kind == "mixed precision" else 1e-5
    np.testing.assert_allclose(answers, probabilities(run), atol=atol)
    assert result["model"]["input"]["range"] == [0, high]
    assert result["model"].get("safe_mode") == (False if kind == "code" else None)


@each_keras
@pytest.mark.tensorflow
@pytest.mark.cases("F2")
def test_model_of_a_cross_validation(trained, use):
    """Each fold's model takes the set's images; the run's is that of the best fold."""
    run = trained(train=TrainSpec(epochs=1, batch_size=20, cross_validation=2))
    result = run.json("result.json")

    answers = use(run, OF_SET + KEEP)

    with np.load(run.path / "folds" / str(result["model"]["fold"]) / "predictions.npz") as file:
        np.testing.assert_allclose(answers, file["probabilities"], atol=1e-5)
    assert "epoch" not in result["test"]
    assert describe_use(result["model"], 3) in run.stdout


@each_keras
@pytest.mark.cases("F2")
@pytest.mark.tensorflow
def test_model_keras_cannot_load(trained, use):
    """A layer that forgets its arguments: the run saves weights, and says for which range."""
    run = trained(model=FunctionSpec("my:forgetful"))

    model = run.json("result.json")["model"]
    assert (model["file"], model["weights_only"]) == ("model/model.weights.h5", True)
    assert model["input"]["range"] == [0, 1]
    assert "Keras cannot load this model again" in run.stdout
    assert sorted(file.name for file in (run.path / "model").iterdir()) == ["model.weights.h5"]
    program = OF_SET.replace(
        'tf.keras.models.load_model(run / about["model"]["file"], compile=False)',
        "my.forgetful((10, 10, 1), 3)\nmodel.load_weights(run / about['model']['file'])",
    )
    program = program.replace('["x_test"]', '["x_test"] / 255')
    start = "import sys\nsys.path.insert(0, sys.argv[1] + '/user')\nimport my\n"
    np.testing.assert_allclose(use(run, start + program + KEEP), probabilities(run), atol=1e-5)


def png(path, pixels):
    """Write an RGB image (height, width, 3) as a PNG file."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


@each_keras
@pytest.mark.cases("F2", "F23")
@pytest.mark.tensorflow
def test_page_example_predicts_photo(use, make_run, run_trainer):
    """A file of the test part gives its row in predictions.npz; the best epoch was tested."""
    data = DataSpec(path="photos", image_size=[32, 32], validation_split=0.2)
    early = TrainSpec(epochs=2, batch_size=8, early_stopping=EarlyStoppingSpec(patience=50))
    folder = make_run(data=data, model=CnnSpec(filters=[4]), train=early)
    random = np.random.default_rng(1)
    for part, count in (("train", 10), ("test", 1)):
        for place, name in enumerate(("dark", "light")):
            (folder.path / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(100 * place, 156 + 100 * place, (48, 40, 3), np.uint8)
                png(folder.path / "photos" / part / name / f"{number}.png", pixels)
    run = run_trainer(folder)
    assert run.status == 0, run.stderr

    start = OF_SET.split("\n\nimages")[0] + "\n"
    file = str(folder.path / "photos" / "test" / "light" / "0.png")
    answer = use(run, start + OF_PHOTO + KEEP_PHOTO, file)

    np.testing.assert_allclose(answer, probabilities(run)[1:], atol=1e-5)
    result = run.json("result.json")
    assert result["test"]["epoch"] == result["best"]["epoch"]


@pytest.mark.cases("F23")
def test_last_and_best_epoch_differ():
    """The line names both, and the setting that keeps the best."""
    best = {"epoch": 24, "monitor": "val_loss", "value": 0.0158}

    text = describe_tested({"test": {"accuracy": 0.9, "epoch": 25}, "best": best})

    assert text == (
        "tested and saved: epoch 25, the last; best was epoch 24 (val_loss 0.0158), "
        "whose weights train.early_stopping (restore_best) would keep"
    )
    assert describe_tested({"test": {"accuracy": 0.9}, "best": best}) == ""
    assert describe_tested({"test": {"epoch": 2}, "best": None}) == "tested and saved: epoch 2"
