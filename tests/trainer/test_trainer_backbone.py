"""Backbones of keras.applications: preprocessing, frozen layers, and weights of others."""

from __future__ import annotations

import shutil
import sys
import warnings

import numpy as np
import pytest

from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import BackboneSpec, SpecError

pytest.importorskip("tensorflow")

from hpcdl.trainer import compat
from hpcdl.trainer.model import backbone, models

SHAPE = (32, 32, 1)
IN_96 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"


def spec(name="MobileNetV2", **settings):
    return BackboneSpec(name, **{"weights": "none", **settings})


def build(*arguments, shape=SHAPE, **settings):
    compat.seed_everything(1)
    return models.build(spec(*arguments, **settings), shape, 3)


def images(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def network(tf):
    """A MobileNetV2 that gives features of some size: every layer's scale is drawn."""
    made = tf.keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    random = np.random.default_rng(1)
    made.set_weights(
        [random.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in made.get_weights()]
    )
    return made


def spoil(name, item):
    """Put NaN into a convolution's kernel; visititems ends at a value that is not None."""
    if "Conv1/" in name and name.endswith(("kernel", "kernel:0")):
        item[0] = np.nan
        return name
    return None


@pytest.fixture(scope="module")
def files(tf, network, tmp_path_factory):
    """Its weights, as Keras 2 wrote them and as Keras 3 does, and other files."""
    folder = tmp_path_factory.mktemp("weights")
    applications = tf.keras.applications
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Keras's way to write HDF5 is not numpy's any more
        network.save(folder / "old.h5")
        network.save_weights(folder / "new.weights.h5")
        applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=1000).save(
            folder / "top.h5"
        )
        applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3)).save(
            folder / "vgg.h5"
        )
    whole = (folder / "old.h5").read_bytes()
    (folder / "torn.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "text.h5").write_text("no weights")
    import h5py

    with h5py.File(shutil.copy(folder / "old.h5", folder / "nan.h5"), "r+") as file:
        file.visititems(spoil)
    return folder


def test_preprocessing_matches_keras(tf):
    """Each architecture gets the values that its own preprocess_input gives."""
    pixels = images(5, 4, 4, 3)

    for name, builder in backbone.architectures().items():
        how = backbone.preprocessing(builder)
        ours = pixels[..., ::-1] if how.reverse else pixels
        theirs = sys.modules[builder.__module__].preprocess_input(255 * pixels.astype(np.float64))
        np.testing.assert_allclose(
            ours * how.scale + how.offset, theirs, rtol=1e-5, atol=1e-4, err_msg=name
        )


@pytest.mark.parametrize(
    "name", ["VGG16", "DenseNet121"]
)  # reversed and shifted; scaled by channel
def test_preprocessing_model_loads_without_hpcdl(tf, tmp_path, name):
    builder = backbone.architectures()[name]
    inputs = tf.keras.Input((4, 4, 3))
    model = tf.keras.Model(inputs, backbone.preprocessed(inputs, backbone.preprocessing(builder)))
    pixels = images(2, 4, 4, 3)
    model.save(tmp_path / compat.model_file())

    found = tf.keras.models.load_model(tmp_path / compat.model_file()).predict(pixels, verbose=0)

    wanted = sys.modules[builder.__module__].preprocess_input(255 * pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_reference_model_has_its_parameters(tf):
    model = models.build(spec(), (96, 96, 1), 10)

    assert sum(int(np.prod(w.shape)) for w in model.weights) == 2_270_794
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 12_810
    told = (
        "2,270,794 parameters, 12,810 of them train; "
        "frozen: all 104 layers with weights of mobilenetv2_1.00_96"
    )
    assert models.describe(model) == told


def test_grey_images_become_rgb(tf):
    grey = images(2, 32, 32, 1)

    answers = [
        build("VGG16", shape=(32, 32, n)).predict(np.repeat(grey, n, 3), verbose=0) for n in (1, 3)
    ]

    np.testing.assert_array_equal(*answers)


def test_head_has_requested_layers(tf):
    model = build(
        "VGG16",
        pooling="flatten",
        dense=[7, 5],
        activation="tanh",
        dropout=0.2,
        l2=0.1,
        output="logits",
    )

    head = [layer for layer in model.layers if layer.name not in ("features",)][-5:]
    assert [type(layer).__name__ for layer in head] == [
        "Dense",
        "Dropout",
        "Dense",
        "Dropout",
        "Dense",
    ]
    assert [layer.units for layer in head[::2]] == [7, 5, 3]
    assert head[0].activation.__name__ == "tanh"
    assert head[4].activation.__name__ == "linear"
    assert head[4].kernel_regularizer is not None
    assert model.get_layer("features").output.shape[1:] == (512,)
    pooled = build("VGG16", dropout=0.2)
    assert [type(layer).__name__ for layer in pooled.layers[-3:]] == [
        "GlobalAveragePooling2D",
        "Dropout",
        "Dense",
    ]


@pytest.mark.parametrize(
    ("unfreeze", "training"), [(0, []), (1, []), (4, ["Conv_1"]), (10_000, 52 * ["any"])]
)
def test_unfreeze_trains_last_layers(network, unfreeze, training):
    backbone.freeze(network, unfreeze)

    found = [layer.name for layer in network.layers if layer.trainable_weights]
    assert (
        found == training if unfreeze < 100 else len(found) == len(training)
    )  # all of its convolutions


def test_frozen_half_is_split_off(tf):
    """Both halves together answer like the model; with unfrozen layers there is no split."""
    model = build("VGG16")
    halves = backbone.split(model)
    assert halves is not None
    frozen, head = halves
    backbone.freeze(backbone.network_of(model), 2)

    np.testing.assert_array_equal(
        *(answer(images(2, *SHAPE)) for answer in (lambda x: head(frozen(x)), model))
    )
    assert backbone.split(model) is None


def path_of(weight):
    return getattr(weight, "path", weight.name)  # Keras 2: name


def test_unfrozen_batch_norm_keeps_averages(tf):
    model = build(unfreeze=20)
    model.compile("adam", "sparse_categorical_crossentropy")
    network = backbone.network_of(model)
    before = [weight.numpy().copy() for weight in network.weights]
    training = [path_of(weight) for weight in network.trainable_weights]

    model.train_on_batch(images(4, *SHAPE), np.arange(4) % 3)

    changed = [
        path_of(w)
        for w, old in zip(network.weights, before, strict=True)
        if not np.array_equal(w.numpy(), old)
    ]
    assert changed
    assert set(changed) <= set(training)


@pytest.mark.parametrize("name", ["old.h5", "new.weights.h5"])
def test_weights_of_a_file(network, files, name):
    loaded = backbone.network_of(build(weights=str(files / name)))

    for ours, theirs in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "vgg.h5",
            "holds 14,714,688 parameters in 26 arrays; "
            "MobileNetV2 without its classes has 2,257,984 in 260",
        ),
        ("top.h5", "it has the classes as well: save it with include_top=False"),
        ("torn.h5", "cannot be read as HDF5"),
        ("text.h5", "cannot be read as HDF5 (Unable to"),
        ("nan.h5", "holds weights that are NaN or infinite; the file is damaged"),
        ("none.h5", "model.weights: there is no "),
    ],
)
def test_weights_file_of_other_model(tf, files, name, told):
    with pytest.raises(DataError) as fault:
        build(weights=str(files / name))

    assert told in fault.value.message
    assert str(files / name) in fault.value.message


def test_staged_weights_need_no_internet(network, files, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / IN_96).write_bytes((files / "old.h5").read_bytes())
    monkeypatch.setenv("HPCDL_DATA_ROOT", str(tmp_path))

    loaded = backbone.network_of(build(weights="imagenet", shape=(96, 96, 1)))

    np.testing.assert_array_equal(loaded.get_weights()[0], network.get_weights()[0])


def test_missing_weights_are_not_fetched(tf, tmp_path, monkeypatch):
    """The error names the staging command, and nothing asks the network."""
    monkeypatch.setenv("HPCDL_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    fetched = []
    monkeypatch.setattr("urllib.request.urlretrieve", lambda *a, **k: fetched.append(a))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: fetched.append(a))

    with pytest.raises(DataError) as fault:
        build(weights="imagenet", shape=(96, 96, 1))

    assert fault.value.message == (
        f"the ImageNet weights of MobileNetV2 are not staged: there is no {tmp_path}/models/{IN_96}"
    )
    assert f"hpcdl data stage weights/{IN_96} --data-root {tmp_path}" in fault.value.hint
    assert not fetched


def test_damaged_staged_weights(tf, files, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    staged = tmp_path / "models" / IN_96
    monkeypatch.setenv("HPCDL_DATA_ROOT", str(tmp_path))

    for name in ("torn.h5", "vgg.h5"):
        staged.write_bytes((files / name).read_bytes())
        with pytest.raises(
            DataError, match="is not a file of MobileNetV2's weights without its classes"
        ) as fault:
            build(weights="imagenet", shape=(96, 96, 1))
        assert str(staged) in fault.value.message


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("mobilnetv2", SHAPE, "model.backbone is 'mobilnetv2'; did you mean MobileNetV2? Keras "),
        ("Nothing", SHAPE, "has ConvNeXtBase, "),
        (
            "VGG16",
            (20, 20, 3),
            "VGG16 cannot take images of 20x20: Input size must be at least 32x32",
        ),
        ("VGG16", (64, 64, 4), "VGG16 takes grey or RGB images; these have 4 channels"),
    ],
)
def test_impossible_backbone_is_refused(tf, name, shape, told):
    with pytest.raises(SpecError) as fault:
        build(name, shape=shape)

    assert told in str(fault.value)
