"""Keras's own names for the weights of its architectures are found, and no others."""

from __future__ import annotations

import pytest

from hpcdl.staging.weights import find_weights, sources

# As Keras 2.11 and 3 ask for them (keras.applications, get_file)
FILES = {
    ("MobileNet", False): "mobilenet_1_0_224_tf_no_top.h5",
    ("MobileNet", True): "mobilenet_2_5_128_tf.h5",
    ("MobileNetV2", False): "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ("MobileNetV2", True): "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5",
    ("MobileNetV3Small", False): "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ("MobileNetV3Large", True): "weights_mobilenet_v3_large_minimalistic_224_1.0_float.h5",
    ("VGG16", False): "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ("ResNet50", True): "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
    ("ResNet50V2", True): "resnet50v2_weights_tf_dim_ordering_tf_kernels.h5",
    ("NASNetMobile", False): "nasnet_mobile_no_top.h5",
    ("EfficientNetB1", False): "efficientnetb1_notop.h5",
    ("EfficientNetV2B1", True): "efficientnetv2-b1.h5",
    ("ConvNeXtTiny", True): "convnext_tiny.h5",
}


@pytest.mark.parametrize(("architecture", "include_top"), FILES)
def test_only_matching_weights_are_found(tmp_path, architecture, include_top):
    for name in FILES.values():
        (tmp_path / name).touch()

    found = find_weights(tmp_path, architecture, include_top)

    assert [path.name for path in found] == [FILES[architecture, include_top]]


def test_no_weights_are_found(tmp_path):
    assert find_weights(tmp_path / "models", "VGG16", include_top=True) == []


V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_no_top.h5"


@pytest.mark.parametrize(
    ("architecture", "alpha", "side", "first", "count"),
    [
        ("MobileNetV2", None, None, V2.format("1.0_224"), 22),
        ("MobileNetV2", 0.5, 96, V2.format("0.5_96"), 1),
        ("MobileNetV2", 1.0, 100, V2.format("1.0_224"), 1),  # for which there is no file
        ("MobileNetV2", None, 96, V2.format("1.0_96"), 4),
        ("MobileNet", 0.75, 128, "mobilenet_7_5_128_tf_no_top.h5", 1),
        (
            "MobileNetV3Small",
            0.75,
            300,
            "weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5",
            1,
        ),
        ("VGG16", 1.0, 96, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", 1),
    ],
)
def test_file_for_a_size(architecture, alpha, side, first, count):
    found = sources(architecture, False, alpha, side)

    assert (found[0].file, len(found)) == (first, count)
