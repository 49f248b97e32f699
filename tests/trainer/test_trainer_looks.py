"""What images look like, in five numbers: of bytes and of floats, of one pixel and of many."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.trainer.dataset.looks import LOOKS, looks


def named(images):
    """The five numbers of the first image, by name."""
    return dict(zip(LOOKS, looks(images)[0].tolist(), strict=True))


def test_looks_of_half_black_image():
    image = np.zeros((1, 4, 4, 1), np.uint8)
    image[:, :, 2:] = 255

    assert named(image) == pytest.approx(
        {"brightness": 0.5, "contrast": 0.5, "sharpness": 1 / 3, "black": 0.5, "white": 0.5},
        abs=1e-4,
    )


def test_bytes_and_floats_look_alike():
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (50, 9, 7, 3), dtype=np.uint8)

    values = looks(images)

    assert (values == looks(images.astype(np.float32) * np.float32(1 / 255))).all()
    assert values.shape == (50, 5)
    assert values.dtype == np.float32


@pytest.mark.filterwarnings("error")
def test_image_of_one_pixel():
    assert named(np.full((1, 1, 1, 3), 255, np.uint8)) == {
        "brightness": 1, "contrast": 0, "sharpness": 0, "black": 0, "white": 1,
    }  # fmt: skip
