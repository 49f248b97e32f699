"""The backbone of a job: its weights are staged or a file, and the image's Keras has it."""

from __future__ import annotations

import pytest

BACKBONE = (
    'name: a\nresources: {gpus: 1, time: "01:00:00"}\ndata: {name: tiny, image_size: [96, 96]}\n'
    "model: {backbone: MobileNetV2}\n"
)
IN_96 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
IN_224 = IN_96.replace("_96_", "_224_")


@pytest.fixture
def backbone(world):
    world.write("backbone.yaml", BACKBONE)
    return world


def found(world, *sets):
    return [
        (one.cause, one.fix, one.key)
        for _, one in world.check("backbone.yaml", *sets, only="weights").findings
    ]


def test_staged_weights(backbone):
    backbone.weights(IN_96)

    assert found(backbone) == []
    assert "weights" in backbone.check("backbone.yaml").passed


def test_random_weights(backbone):
    assert found(backbone, "model.weights=none") == []


def test_weights_must_match_image_size(backbone):
    """MobileNetV2 has its own weights for each image size."""
    backbone.weights(IN_224)

    [(cause, fix, key)] = found(backbone)
    assert cause == f"the ImageNet weights of MobileNetV2 are not in {backbone.data}/models"
    assert f"hpcdl data stage weights/{IN_96} --data-root {backbone.data}" in fix
    assert key == "model.weights"
    assert found(backbone, "data.image_size=[200, 200]") == []  # Keras takes those of 224 pixels


def test_missing_weights_name_staging_command(backbone):
    [(_, fix, _)] = found(backbone, "model.backbone=VGG16")

    assert f"hpcdl data stage weights/VGG16 --data-root {backbone.data}" in fix


def test_file_of_weights(backbone):
    backbone.write("mine.h5", b"\x89HDF\r\n\x1a\n and more")

    assert found(backbone, "model.weights=mine.h5") == []


def test_weights_file_that_is_not_hdf5(backbone):
    file = backbone.write("mine.h5", "text")

    assert found(backbone, "model.weights=mine.h5")[0][0] == f"{file} is not an HDF5 file"


def test_misspelt_weights_are_reported(backbone):
    """A word that is neither 'imagenet', 'none' nor a file is a mistake."""
    [(cause, fix, _)] = found(backbone, "model.weights=imagnet")

    assert cause == f"there is no file {backbone.folder}/imagnet"
    assert fix.startswith("correct it: imagenet, none, or the path")


def test_unknown_backbone_suggests_similar_name(backbone):
    """The Keras of the image lacks the network."""
    backbone.stub(
        tensorflow="__version__ = '2.21.0'\nclass keras:\n    class applications:\n        VGG16 = 1\n"
    )

    [(cause, fix, key)] = found(backbone, "model.backbone=MobilNetV2", "model.weights=none")
    assert cause == "TensorFlow 2.21.0 of the image has no keras.applications.MobilNetV2"
    assert fix == "did you mean MobileNetV2?"
    assert key == "model.backbone"
