"""A run whose exported model tells which third of the rows is the brightest, and images for it.

rows.tflite was made by TensorFlow 2.21: a dense layer of 64 grey pixels and a softmax.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

MODEL = Path(__file__).with_name("rows.tflite")
CLASSES = ["top", "middle", "low"]
ABOUT = {
    "schema_version": 1,
    "name": "rows",
    "version": 1,
    "runs": ["20260101-1200-aaaa"],
    "shape": [8, 8, 1],
    "channels": "grey",
    "range": [0, 1],
    "resize": {"method": "bilinear", "antialias": True, "rounded": True},
    "class_names": CLASSES,
    "test": None,
    "hpcdl": "0.4.0",
}


def pixels(label, seed=0):
    """A grey image of 8x8 whose third of the rows is bright."""
    image = np.random.default_rng(seed).integers(0, 120, (8, 8))
    image[(slice(0, 3), slice(3, 5), slice(5, 8))[label]] += 100
    return image.astype(np.uint8)


@pytest.fixture
def make_run(tmp_path):
    """Makes a run with an exported model; the keys given replace those of model.json."""

    def make(name="rows", **about):
        root = tmp_path / "runs" / name / "20260101-1200-aaaa"
        (root / "export").mkdir(parents=True)
        (root / "manifest.json").write_text("{}")
        (root / "export" / "model.tflite").write_bytes(MODEL.read_bytes())
        (root / "export" / "model.json").write_text(json.dumps({**ABOUT, **about}))
        return root

    return make


@pytest.fixture
def images(tmp_path):
    """A folder of 30 images, one in three of each class, in a folder for each class."""
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path / "photos"
    for number in range(30):
        path = folder / CLASSES[number % 3] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image_module.fromarray(pixels(number % 3, number)).save(path)
    return folder
