"""How the weights of ``keras.applications`` are called where Keras looks for them, below ``models`` in its home."""

from __future__ import annotations

import re
from pathlib import Path

# Names beside the common pattern of their file. Source: https://github.com/keras-team/keras,
# keras/src/applications/*.py at 3422977 (August 2026), and keras/applications/*.py at v2.11.0.
_STEMS = {
    "MobileNet": "mobilenet_*_tf",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_*",
    "MobileNetV3Small": "weights_mobilenet_v3_small*_float",
    "MobileNetV3Large": "weights_mobilenet_v3_large*_float",
    "NASNetMobile": "nasnet_mobile",
    "NASNetLarge": "nasnet_large",
    "InceptionV3": "inception_v3_weights_tf_dim_ordering_tf_kernels",
    "InceptionResNetV2": "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels",
    **{f"EfficientNetB{size}": f"efficientnetb{size}" for size in range(8)},
    **{f"EfficientNetV2{size}": f"efficientnetv2-{size.lower()}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")},
    **{f"ConvNeXt{size}": f"convnext_{size.lower()}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
    **{
        name: f"{name.lower()}_weights_tf_dim_ordering_tf_kernels"
        for name in (
            *("VGG16", "VGG19", "Xception", "DenseNet121", "DenseNet169", "DenseNet201"),
            *("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"),
        )
    },
}
ARCHITECTURES = frozenset(_STEMS)


def find_weights(models: Path, architecture: str, include_top: bool) -> list[Path]:
    """The files with an architecture's ImageNet weights; those of MobileNets are several, by size.

    Args:
        models: Keras's ``models`` folder.
        architecture: one of `ARCHITECTURES`.
        include_top: with the 1,000 classes, or without.
    """
    own = re.compile(_STEMS[architecture].replace("*", r"[\w.]*?") + r"(?P<top>_no_?top\w*)?\.h5")
    matches = [(path, own.fullmatch(path.name)) for path in sorted(models.glob("*.h5"))]
    return [path for path, match in matches if match and (match["top"] is None) == include_top]
