"""Augmentation: each change is what its name says, in every TensorFlow, by seed and place.

The first part imports no TensorFlow here, so that it runs against the Python of a container.
"""

import json
import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates  # type: ignore[import-untyped]

from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import DataSpec, MlpSpec, OptimizerSpec, TrainSpec
from tests.trainer.conftest import each_keras

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

EVERYTHING: list[dict[str, Any]] = [
    {"cutout": 0.3},
    {"brightness": 0.2},
    {"contrast": 0.4},
    {"shift": 0.2},
    {"zoom": 0.3},
    {"rotate": 40},
    {"flip": "both"},
]
APART = """
import json, sys
import numpy as np
from hpcdl.trainer.dataset.augment import augmented, draw
images, entries = np.load(sys.argv[1]), json.loads(sys.argv[2])
numbers = draw(len(images), seed=3, epoch=7)
np.savez(sys.argv[3], numbers=numbers, images=augmented(images, numbers, entries).numpy())
"""


def by_hand(images, numbers, wanted):
    """What `augmented` promises, image by image in double precision, by SciPy."""
    found = []
    for image, drawn in zip(images.astype("f8"), numbers.astype("f8"), strict=True):
        flip_x, flip_y, rotate, zoom, shift_y, shift_x, contrast, brightness, cut_y, cut_x = drawn
        height, width = image.shape[:2]
        y, x = np.mgrid[:height, :width].astype("f8")
        x -= (width - 1) / 2 + (2 * shift_x - 1) * wanted["shift"] * width
        y -= (height - 1) / 2 + (2 * shift_y - 1) * wanted["shift"] * height
        angle = (2 * rotate - 1) * wanted["rotate"] * math.pi / 180
        scale = 1 + (2 * zoom - 1) * wanted["zoom"]
        x, y = (
            scale * (math.cos(angle) * x - math.sin(angle) * y),
            scale * (math.sin(angle) * x + math.cos(angle) * y),
        )
        x, y = (
            (-x if flip_x < 0.5 else x) + (width - 1) / 2,
            (-y if flip_y < 0.5 else y) + (height - 1) / 2,
        )
        image = np.stack(
            [
                map_coordinates(channel, [y, x], order=1, mode="reflect")
                for channel in image.T.swapaxes(1, 2)
            ],
            -1,
        )
        image = image.mean() + (image - image.mean()) * (
            1 + (2 * contrast - 1) * wanted["contrast"]
        )
        image = np.clip(image + (2 * brightness - 1) * wanted["brightness"], 0, 1)
        side = round(wanted["cutout"] * min(height, width))
        top, left = int(cut_y * (height - side + 1)), int(cut_x * (width - side + 1))
        image[top : top + side, left : left + side] = 0.5
        found.append(image)
    return np.array(found)


@each_keras
def test_every_tensorflow_makes_the_same_images(run_hpcdl_program, tmp_path):
    images = np.random.default_rng(2).random((40, 9, 12, 3), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    asked = json.dumps(EVERYTHING)
    run_hpcdl_program(APART, tmp_path / "images.npy", asked, tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as archive:
        numbers, found = archive["numbers"], archive["images"]

    np.testing.assert_array_equal(numbers[0, :2], np.array([0.54896307, 0.21244305], np.float32))
    expected = by_hand(
        images, numbers, {name: value for entry in EVERYTHING for name, value in entry.items()}
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)


@each_keras
def test_run_with_augmentation(make_run, run_trainer):
    data = DataSpec(path="data.npz", augment=EVERYTHING)
    folder = run_trainer(make_run(data=data))

    assert folder.status == 0, folder.stderr
    assert folder.metrics()[-1]["loss"] < folder.metrics()[0]["loss"]
    picture = (folder.path / "samples.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (8 * 100, 2 * 100), (
        "eight images, and the same ones below"
    )


@pytest.fixture
def changed(tf):
    """Images changed by one number, where all others are as if nothing were asked for."""
    from hpcdl.trainer.dataset import augment

    def change(images, entry, **drawn):
        numbers = np.full((len(images), len(augment._DRAWN)), 0.5, np.float32)
        for name, value in drawn.items():
            numbers[:, augment._DRAWN.index(name)] = value
        return augment.augmented(images, numbers, [entry]).numpy()

    return change


@pytest.fixture
def images():
    return np.random.default_rng(1).random((3, 6, 6, 2), dtype=np.float32)


def test_flips(changed, images):
    for flip, axes in (("horizontal", 2), ("vertical", 1), ("both", (1, 2))):
        flipped = changed(images, {"flip": flip}, flip_x=0.49, flip_y=0.49)
        np.testing.assert_array_equal(flipped, np.flip(images, axes))
        np.testing.assert_array_equal(
            changed(images, {"flip": flip}, flip_x=0.51, flip_y=0.51), images
        )


def test_right_angles(changed, images):
    np.testing.assert_allclose(
        changed(images, {"rotate": 90}, rotate=1), np.rot90(images, 1, (1, 2)), atol=1e-5
    )
    np.testing.assert_allclose(
        changed(images, {"rotate": 180}, rotate=0), np.rot90(images, 2, (1, 2)), atol=1e-5
    )


def test_whole_pixels(changed, images):
    right = changed(
        images, {"shift": 0.5}, shift_x=2 / 3
    )  # of six pixels, up to three either way: one
    np.testing.assert_allclose(right[:, :, 1:], images[:, :, :-1], atol=1e-5)
    np.testing.assert_allclose(right[:, :, 0], images[:, :, 0], atol=1e-5)
    down = changed(images, {"shift": 0.5}, shift_y=1)
    np.testing.assert_allclose(down[:, 3:], images[:, :-3], atol=1e-5)
    np.testing.assert_allclose(
        down[:, :3], images[:, 2::-1], atol=1e-5, err_msg="reflected at the edge"
    )


def test_zoom_in_and_out(changed, tf):
    ramp = np.tile(np.linspace(0.3, 0.7, 41, dtype=np.float32), (1, 41, 1))[..., None]
    nearer = changed(ramp, {"zoom": 0.5}, zoom=0)
    np.testing.assert_allclose(nearer[0, 20, [0, 20, 40], 0], [0.4, 0.5, 0.6], atol=1e-5)
    farther = changed(ramp, {"zoom": 0.25}, zoom=1)
    np.testing.assert_allclose(farther[0, 20, [4, 20, 36], 0], [0.3, 0.5, 0.7], atol=1e-5)


def test_colours_stay_within_bounds(changed, images):
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        changed(images, {"contrast": 0.5}, contrast=0), mean + (images - mean) / 2, atol=1e-6
    )
    brighter = changed(images, {"brightness": 0.4}, brightness=1)
    np.testing.assert_allclose(brighter, np.minimum(images + 0.4, 1), atol=1e-6)
    assert brighter.max() == 1
    assert changed(images, {"contrast": 0.9}, contrast=1).min() == 0


def test_cutout_square_reaches_every_edge(changed, images):
    for where, place in ((0, slice(0, 2)), (0.999, slice(4, 6))):
        found = changed(images, {"cutout": 1 / 3}, cutout_y=where, cutout_x=where)
        assert (found[:, place, place] == 0.5).all()
        assert (found != images).any(axis=3).sum() == 3 * 4


def test_numbers_depend_on_epoch_and_seed(tf):
    from hpcdl.trainer.dataset.augment import draw

    np.testing.assert_array_equal(draw(50, 1, 2), draw(50, 1, 2))
    for other in (draw(50, 1, 3), draw(50, 2, 2)):
        assert (other != draw(50, 1, 2)).mean() > 0.99


TRAIN = TrainSpec(epochs=2, batch_size=20, seed=5, optimizer=OptimizerSpec("sgd", 0.1))
SMALL = MlpSpec(dense=[8])


def test_interrupted_augmented_run_is_exact(make_training):
    train = replace(TRAIN, optimizer=OptimizerSpec("adam", 0.01))
    whole = make_training(SMALL, train, 2, name="whole", augment=EVERYTHING)()
    with pytest.raises(Stopped):
        make_training(SMALL, train, 2, name="parts", augment=EVERYTHING)(call_s=0, stop_after=3)
    resumed = make_training(SMALL, train, 2, name="parts", augment=EVERYTHING)()

    for one, other in zip(whole.weights(), resumed.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.losses() == resumed.losses()


def test_replicas_train_on_the_same_images(make_training):
    one, two, plain = (
        make_training(SMALL, TRAIN, replicas, name=f"{replicas}{len(augment)}", augment=augment)()
        for replicas, augment in ((1, EVERYTHING), (2, EVERYTHING), (1, []))
    )
    for mine, yours in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(mine, yours, atol=1e-5)
    assert abs(one.weights()[0] - plain.weights()[0]).max() > 1e-2


def test_each_step_takes_its_rows_numbers(make_training, monkeypatch):
    """The images of an epoch are those of its order, each changed by the numbers of its place."""
    from hpcdl.trainer.dataset import augment
    from hpcdl.trainer.dataset.load import epoch_order

    seen = []
    real = augment.augmented

    def noted(images, numbers, entries):
        import tensorflow as tf

        changed = real(images, numbers, entries)
        tf.numpy_function(lambda array: seen.append(array.copy()), [changed], [])
        return changed

    monkeypatch.setattr(augment, "augmented", noted)
    training = make_training(SMALL, TRAIN, augment=EVERYTHING)
    training()
    source, found = training.stepper._source, np.concatenate(seen)
    for epoch in (0, 1):
        images, _ = source.take(epoch_order(np.arange(61, dtype=np.int32), TRAIN.seed, epoch))
        expected = real(images, augment.draw(61, TRAIN.seed, epoch), EVERYTHING)
        np.testing.assert_allclose(found[61 * epoch : 61 * (epoch + 1)], expected, atol=1e-6)
