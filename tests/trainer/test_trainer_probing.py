"""A user's model is tried on four images: no logits for probabilities, no images scaled twice."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.contract.errors import UserCodeError
from hpcdl.contract.spec import FunctionSpec, TrainSpec

pytestmark = pytest.mark.tensorflow
SHAPE = (16, 16, 3)


@pytest.fixture
def probe(tf):
    """Tries a model that consists of some layers, or is made of an input; the warnings."""
    from hpcdl.trainer.model import probing

    def run(*layers, output="softmax", compiled=None):
        tf.keras.utils.set_random_seed(1)
        model = tf.keras.Sequential([tf.keras.Input(SHAPE), *layers])
        if compiled:
            model.compile(**compiled)
        return probing.check_function_model(model, FunctionSpec("my:build", {}, output), SHAPE, 4)

    return run


@pytest.fixture
def ends(tf):
    """The last layers of a model, by what they give."""
    layers = tf.keras.layers
    softmax = layers.Softmax()
    return {
        "logits": [layers.Flatten(), layers.Dense(4)],
        "softmax": [layers.Flatten(), layers.Dense(4, "softmax")],
        "temperature": [layers.Flatten(), layers.Dense(4), layers.Rescaling(0.1), softmax],
        "half": [layers.Flatten(), layers.Dense(4, "softmax", dtype="mixed_float16")],
        "sigmoid": [layers.Flatten(), layers.Dense(4, "sigmoid")],
        "log softmax": [layers.Flatten(), layers.Dense(4, tf.nn.log_softmax)],
        "zeros": [layers.Flatten(), layers.Dense(4, kernel_initializer="zeros")],
    }


@pytest.mark.cases("C33")
@pytest.mark.parametrize("end", ["logits", "log softmax"])
def test_logits_for_probabilities_end_the_run(probe, ends, end):
    """Outputs outside 0 to 1 are refused, with the remedy."""
    with pytest.raises(UserCodeError) as caught:
        probe(*ends[end])

    assert (
        "the outputs of my:build are not probabilities: for four test images they go from"
        in str(caught.value)
    )
    assert caught.value.hint == "set model.output: logits, or let the model end with a softmax"


@pytest.mark.cases("C33")
@pytest.mark.parametrize(("end", "output"), [
    ("softmax", "softmax"), ("temperature", "softmax"), ("half", "softmax"),
    ("logits", "logits"), ("log softmax", "logits"), ("zeros", "logits"),
])  # fmt: skip
def test_right_outputs_pass(probe, ends, end, output):
    """No false alarm, for half floats and a temperature neither."""
    assert probe(*ends[end], output=output) == []


@pytest.mark.cases("C33")
@pytest.mark.parametrize(("end", "output", "text"), [
    ("sigmoid", "softmax", "not probabilities"), ("zeros", "softmax", "not probabilities"),
    ("softmax", "logits", "are probabilities already"),
])  # fmt: skip
def test_doubtful_outputs_are_reported(probe, ends, end, output, text):
    """Sigmoids, zeros and a softmax twice train, but not as the user thinks."""
    [warning] = probe(*ends[end], output=output)

    assert text in warning


@pytest.mark.cases("C33")
def test_compiled_loss_mismatch_ends_run(probe, ends):
    """A model that comes compiled is compared with its own loss."""
    with pytest.raises(UserCodeError) as caught:
        probe(*ends["logits"], compiled={"loss": "sparse_categorical_crossentropy"})

    assert "came compiled with a loss for probabilities" in str(caught.value)
    assert "from_logits=True" in caught.value.hint


@pytest.mark.cases("C33")
@pytest.mark.parametrize(("end", "from_logits", "output", "text"), [
    ("logits", True, "logits", ""), ("softmax", False, "softmax", ""),
    ("logits", True, "softmax", "There will be no predictions.npz"),
    ("softmax", True, "softmax", "probabilities already"),
    ("softmax", False, "logits", "a softmax of them again"),
])  # fmt: skip
def test_compiled_model_must_match_loss(tf, probe, ends, end, from_logits, output, text):
    """Loss, outputs and model.output must agree."""
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)

    warnings = probe(*ends[end], output=output, compiled={"loss": loss})

    assert len(warnings) == bool(text)
    assert text in "".join(warnings)


@pytest.mark.cases("C34")
@pytest.mark.parametrize("first", [
    lambda k: [k.layers.Rescaling(1 / 255)],
    lambda k: [k.layers.Rescaling(1 / 127.5, -1)],
    lambda k: [k.layers.Lambda(lambda x: x / 255)],
    lambda k: [k.layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)],
    lambda k: [k.Sequential([k.layers.Rescaling(1 / 255)]), k.layers.AveragePooling2D(2)],
    lambda k: [k.layers.Lambda(k.applications.resnet50.preprocess_input)],
], ids=["rescaling", "to -1", "lambda", "normalization", "nested", "caffe"])  # fmt: skip
def test_second_scaling_is_reported(tf, probe, ends, first):
    """Whatever scales images from 0..255 to a small range is found by what comes out of it."""
    [warning] = probe(*first(tf.keras), tf.keras.layers.Conv2D(2, 3), *ends["softmax"])

    assert "the images are scaled twice: my:build is given images in [0, 1]" in warning
    assert "begin with tf.keras.layers.Rescaling(255.0)" in warning


@pytest.mark.cases("C34")
@pytest.mark.parametrize("name", ["EfficientNetB0", "ConvNeXtTiny", "MobileNetV3Small"])
def test_networks_that_scale_themselves(tf, probe, ends, name):
    """They want 0..255: said, unless the model brings images back to that."""
    network = getattr(tf.keras.applications, name)(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    up = tf.keras.layers.UpSampling2D(2)

    [warning] = probe(up, network, *ends["softmax"])
    assert "scaled twice" in warning

    assert probe(up, tf.keras.layers.Rescaling(255.0), network, *ends["softmax"]) == []


@pytest.mark.cases("C34")
@pytest.mark.parametrize("first", [
    lambda k: [k.layers.Rescaling(2.0, -1.0)],
    lambda k: [k.layers.Rescaling(255.0), k.layers.Rescaling(1 / 255)],
    lambda k: [k.layers.GlobalAveragePooling2D()],
    lambda k: [k.layers.LayerNormalization(axis=[1, 2, 3])],
    lambda k: [k.layers.BatchNormalization(), k.layers.RandomFlip()],
    lambda k: [k.layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)],
    lambda k: [k.layers.ZeroPadding2D(2), k.layers.MaxPooling2D(2)],
], ids=["centred", "there and back", "average", "layer norm", "batch norm", "normalization", "padding"])  # fmt: skip
def test_other_first_layers_pass(tf, probe, ends, first):
    """No false alarm for models that are made for images from 0 to 1."""
    assert probe(*first(tf.keras), *ends["softmax"]) == []


@pytest.mark.cases("C34")
def test_probing_changes_nothing(tf, probe, ends):
    """The model's weights, and what is drawn after it, are as before."""
    from hpcdl.trainer.model import probing

    model = tf.keras.Sequential(
        [tf.keras.Input(SHAPE), tf.keras.layers.BatchNormalization(), *ends["softmax"]]
    )
    before = model.get_weights()
    tf.keras.utils.set_random_seed(3)
    expected = tf.random.uniform([3]).numpy()
    tf.keras.utils.set_random_seed(3)

    probing.check_function_model(model, FunctionSpec("my:build"), SHAPE, 4)

    assert (tf.random.uniform([3]).numpy() == expected).all()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not any("call" in vars(layer) for layer in model.layers)


MODELS = """
import tensorflow as tf
layers = tf.keras.layers


def logits(shape, classes):
    return tf.keras.Sequential([tf.keras.Input(shape), layers.Flatten(), layers.Dense(classes)])


def scaled(shape, classes):
    return tf.keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(classes, "softmax")])


def one_unit(shape, classes):
    return tf.keras.Sequential([layers.Flatten(), layers.Dense(1, "sigmoid")])
"""


@pytest.mark.cases("C33")
@pytest.mark.parametrize(("function", "text"), [
    ("logits", "set model.output: logits"), ("one_unit", "gives (1, 1) for one image; expected (1, 3)"),
])  # fmt: skip
def test_run_ends_before_training(make_run, run_trainer, function, text):
    """The fault costs no training: it is said before the first step."""
    folder = make_run(model=FunctionSpec(f"my:{function}"))
    (folder.path / "my.py").write_text(MODELS)

    run = run_trainer(folder)

    assert run.status == 1
    assert text in run.stderr
    assert "epoch 1" not in run.stdout


@pytest.mark.cases("C34", "C44", "C45")
def test_warnings_are_in_log_and_result(make_run, run_trainer, arrays):
    """What is doubtful of data and model does not end the run, and stays with its result."""
    folder = make_run(model=FunctionSpec("my:scaled"), train=TrainSpec(epochs=1, batch_size=100))
    (folder.path / "my.py").write_text(MODELS)
    dark = {"x_train": arrays["x_train"] // 16, "x_test": arrays["x_test"] // 16}
    np.savez(folder.path / "data.npz", **{**arrays, **dark}, x_val=arrays["x_test"])

    run = run_trainer(folder)

    assert run.status == 0, run.stderr
    warnings = run.json("result.json")["warnings"]
    assert [text.partition(" ")[0] for text in warnings] == ["x_train:", "x_test:", "not", "the"]
    assert all(f"warning: {text}" in run.stdout for text in warnings)


@pytest.mark.cases("C34")
def test_integer_input_is_reported(tf, ends):
    """Keras casts images to the input's type, and of 0..1 leaves zeros."""
    from hpcdl.trainer.model import probing

    images = tf.keras.Input(SHAPE, dtype="uint8")
    outputs = tf.keras.layers.Rescaling(1 / 255)(images)
    for layer in [tf.keras.layers.Conv2D(2, 3), *ends["softmax"]]:
        outputs = layer(outputs)
    model = tf.keras.Model(images, outputs)
    [warning] = probing.check_function_model(
        model, FunctionSpec("my:build", {}, "softmax"), SHAPE, 4
    )

    assert "my:build takes whole numbers (uint8)" in warning
