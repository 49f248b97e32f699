"""Where a model looks, and what attacks do to it: in both Kerases; no failure fails a run."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.spec import CnnSpec, DeviceSpec, FunctionSpec, MlpSpec, TestSpec, TrainSpec
from tests.trainer.conftest import COMMANDS, each_keras

pytestmark = pytest.mark.tensorflow

# A network that looks at 4x4 pixels alone, those from row 2 and column 3 on, behind a nested one
METHODS = """
import json
import numpy as np
import tensorflow as tf
from hpcdl.trainer.explain import gradients, maps
from hpcdl.trainer.explain.answers import Answers
from hpcdl.trainer.explain.grad_cam import grad_cam
from hpcdl.trainer.explain.occlusion import occlusion

def network(logits):
    pixels = tf.keras.Input((12, 12, 1))
    inner = tf.keras.Sequential([
        tf.keras.Input((12, 12, 1)),
        tf.keras.layers.Rescaling(1.0),
        tf.keras.layers.Conv2D(1, 1, use_bias=False, name="places"),
        tf.keras.layers.BatchNormalization(),
    ])
    flat = tf.keras.layers.Flatten()(inner(pixels))
    outputs = tf.keras.layers.Dense(2, name="classes")(flat)
    if not logits:
        outputs = tf.keras.layers.Softmax(dtype="float32")(outputs)
    model = tf.keras.Model(pixels, outputs)
    kernel = np.zeros((144, 2), np.float32)
    kernel.reshape(12, 12, 2)[2:6, 3:7, 1] = 1
    inner.get_layer("places").set_weights([np.ones((1, 1, 1, 1), np.float32)])
    model.get_layer("classes").set_weights([kernel, np.array([0, -11], np.float32)])
    return model

images = np.random.default_rng(1).random((3, 12, 12, 1), np.float32)
images[:, 2:6, 3:7] = 0.8
images, classes = tf.constant(images), tf.constant([1, 1, 1])
colour = tf.reduce_mean(images, axis=[0, 1, 2])
beats = []
beat = lambda: beats.append(1)
said = {}
for kind in ("softmax", "logits", "mixed"):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if kind == "mixed" else "float32")
    model = network(kind == "logits")
    answers = Answers(model, kind == "logits")
    integrated, gap = gradients.integrated_gradients(answers, images, classes, beat)
    cam, layer = grad_cam(answers, model, images, classes)
    heats = {
        "occlusion": occlusion(answers, images, classes, colour, beat),
        "saliency": gradients.saliency(answers, images, classes),
        "smooth_grad": gradients.smooth_grad(answers, images, classes, 1, beat),
        "integrated_gradients": integrated,
        "grad_cam": cam,
    }
    for name, heat in heats.items():
        falls = maps.falls(answers, images, classes, colour, heat)
        inside = heat[:, 2:6, 3:7].sum() / heat.sum()
        said[kind + " " + name] = [float(inside), float(falls.hottest.mean() - falls.random.mean())]
    said[kind + " gap"], said[kind + " layer"] = gap, layer
print("said " + json.dumps(said))
"""


@each_keras
def test_each_method_finds_the_cause(run_hpcdl_program):
    said = json.loads(run_hpcdl_program(METHODS).partition("said ")[2])

    for kind in ("softmax", "logits", "mixed"):
        assert said.pop(f"{kind} gap") < 0.02
        assert said.pop(f"{kind} layer").startswith("batch_norm")  # the last of the inner network
    assert len(said) == 15
    for name, (inside, fall) in said.items():
        # A square reaches over the edge of what decides
        assert inside > (0.6 if name.endswith("occlusion") else 0.99), name
        assert fall > 0.1, name


def heat_of(run: Any) -> dict[str, Any]:
    with np.load(run.path / "predictions.npz") as file:
        return {name: file[name] for name in file.files}


@each_keras
def test_run_looks_and_is_attacked(make_run, run_trainer):
    """On two replicas, with the default of a run."""
    devices = DeviceSpec(gpus=2, emulate=True)
    model = CnnSpec(filters=[4], kernel_size=3, batch_norm=True, output="logits")
    run = run_trainer(
        make_run(
            model=model,
            devices=devices,
            train=TrainSpec(epochs=1, batch_size=20),
            test=TestSpec(attack=[0.01, 0.3]),
        )
    )

    assert run.status == 0, run.stderr
    result = run.json("result.json")
    arrays = heat_of(run)
    about = result["test"]["explain"]
    rows = [*arrays["picture_rows"], *arrays["unsure_rows"]]
    assert arrays["heat_rows"].tolist() == rows
    assert (arrays["heat"].shape, arrays["heat"].dtype) == ((len(rows), 10, 10), np.uint8)
    assert arrays["heat"].max(axis=(1, 2)).min() == 255
    assert about["method"] == "occlusion"
    assert about["images"] == len(rows) == len(arrays["picture_rows"]) + 8
    assert about["fall"] > about["random_fall"]
    assert result["warnings"] == []
    assert "heat maps of" in run.stdout

    attack = result["test"]["attack"]
    small, large = attack["by_epsilon"]
    assert attack["rows"] == 101
    assert attack["accuracy"] == pytest.approx(result["test"]["accuracy"])
    assert (small["epsilon"], large["epsilon"]) == (0.01, 0.3)
    assert attack["accuracy"] >= small["fgsm"] >= large["fgsm"]
    assert small["pgd"] > large["pgd"] < attack["accuracy"]
    assert large["pgd"] <= large["fgsm"]


@pytest.mark.parametrize("trainer_command", COMMANDS[:1], indirect=True, scope="session")
def test_failure_is_said_and_fails_nothing(make_run, run_trainer):
    """Of a user's model without a layer that gives an image, and without a gradient."""
    folder = make_run(
        model=FunctionSpec("my:build"),
        train=TrainSpec(epochs=1, batch_size=20),
        test=TestSpec(explain="grad_cam", attack=[0.1]),
    )
    (folder.path / "my.py").write_text(
        "import tensorflow as tf\n"
        "def build(input_shape, classes):\n"
        "    pixels = tf.keras.Input(input_shape)\n"
        "    bright = tf.keras.layers.Rescaling(1.0, dtype='float32')(pixels)\n"
        "    whole = tf.keras.layers.Lambda(lambda x: tf.stop_gradient(x))(bright)\n"
        "    flat = tf.keras.layers.Flatten()(whole)\n"
        "    answers = tf.keras.layers.Dense(classes, 'softmax')(flat)\n"
        "    return tf.keras.Model(pixels, answers)\n"
    )
    run = run_trainer(folder)

    assert run.status == 0, run.stderr
    result = run.json("result.json")
    problem = result["test"]["explain"]["problem"]
    assert "no layer with weights gives an image" in problem
    why = result["test"]["attack"]["problem"]
    assert "what it gives has no gradient by its images" in why
    assert f"test.explain: no heat maps: {problem}" in result["warnings"]
    assert f"test.attack: not measured: {why}" in result["warnings"]
    assert "heat" not in heat_of(run)


@pytest.fixture(scope="module")
def session(tf, make_run):
    """A session with what heat maps read of it."""
    from hpcdl.contract.spec import RunSpec
    from hpcdl.trainer.files.rundir import RunDir
    from hpcdl.trainer.runtime.devices import Devices
    from hpcdl.trainer.session import Session

    folder = make_run(model=MlpSpec())
    run = RunSpec.from_json((folder.path / "run.json").read_text())
    none: Any = None
    devices = Devices(tf.distribute.get_strategy(), "default", 1, ["CPU:0"], False)
    return Session(run, none, devices, RunDir(str(folder.path / "run.json")), {})


def maps_of(tf, session, model, shape=(8, 8, 3), method="occlusion"):
    """Heat maps of three images of chance."""
    from hpcdl.trainer.dataset.load import Part
    from hpcdl.trainer.dataset.source import Source
    from hpcdl.trainer.explain.heat_maps import Asked, heat_maps

    images = np.random.default_rng(1).integers(0, 256, (3, *shape), np.uint8)
    source = Source(Part(images, np.zeros(3, np.int32), 1 / 255))
    rows = np.arange(3, dtype=np.int32)
    size = [min(96, length) for length in shape[:2]]
    return heat_maps(session, method, model, source, Asked(rows, np.zeros(3, np.int32), *size))


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 9, 1), (128, 96, 3)])
def test_maps_have_the_size_of_pictures(tf, session, shape):
    model = lambda images, training: tf.stack(  # noqa: E731
        [tf.reduce_mean(images, [1, 2, 3]), 1 - tf.reduce_mean(images, [1, 2, 3])], axis=1
    )

    made = maps_of(tf, session, model, shape)

    assert "problem" not in made.about, made.about
    assert made.arrays["heat"].shape == (3, min(96, shape[0]), min(96, shape[1]))


def test_gap_of_integrated_gradients_is_checked(tf, session):
    """A probability that jumps has no slope that says so."""

    def jumps(images, training):
        high = tf.cast(tf.reduce_mean(images, [1, 2, 3]) > 0.1, tf.float32)
        probability = high + 0 * tf.reduce_mean(images, [1, 2, 3])
        return tf.stack([probability, 1 - probability], axis=1)

    made = maps_of(tf, session, jumps, method="integrated_gradients")

    assert made.arrays == {}
    assert made.about["gap"] == 1
    assert "miss it by 1; expected 0.1 at most" in made.about["problem"]


def test_slow_model_gets_fewer_maps(tf, session, monkeypatch):
    from hpcdl.trainer.explain import heat_maps as module

    model = lambda images, training: tf.ones([images.shape[0], 2]) / 2  # noqa: E731
    monkeypatch.setattr(module, "_MOST_S", 1e-9)

    made = maps_of(tf, session, model)

    assert made.arrays == {}
    assert "a map would take" in made.about["problem"]


def test_run_that_is_to_end_makes_no_maps(tf, session, tmp_path):
    model = lambda images, training: tf.ones([images.shape[0], 2]) / 2  # noqa: E731
    stop_file = session.run_dir.stop_file
    open(stop_file, "w").close()

    made = maps_of(tf, session, model)
    os.remove(stop_file)

    assert made.about["problem"] == "the run was asked to end"
