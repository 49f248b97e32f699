"""The weights of ``keras.applications``: the files that Keras looks for, and their addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hpcdl.staging.catalogue import Source

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications"
_TF = "_weights_tf_dim_ordering_tf_kernels"

# Each file of an architecture: folder below _BASE, name without ending, and the published checksums
# of the file with the 1,000 classes and of the one without. Source:
# https://github.com/keras-team/keras, keras/src/applications/*.py at 3422977 (August 2026), and
# keras/applications/*.py at v2.11.0, which agree.
_PUBLISHED = {
    "VGG16": (
        f"vgg16/vgg16{_TF}",
        "64373286793e3c8b2b4e3219cbf3544b",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "VGG19": (
        f"vgg19/vgg19{_TF}",
        "cbe5617147190e668d6c5d5026f83318",
        "253f8cb515780f3b799900260a226db6",
    ),
    "Xception": (
        f"xception/xception{_TF}",
        "0a58e3b7378bc2990ea3b43d5981f1f6",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
    "InceptionV3": (
        f"inception_v3/inception_v3{_TF}",
        "9a0d58056eeedaa3f26cb7ebd46da564",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "InceptionResNetV2": (
        f"inception_resnet_v2/inception_resnet_v2{_TF}",
        "e693bd0210a403b3192acc6073ad2e96",
        "d19885ff4a710c122648d3b5c3b684e4",
    ),
    "DenseNet121": (
        f"densenet/densenet121{_TF}",
        "9d60b8095a5708f2dcce2bca79d332c7",
        "30ee3e1110167f948a6b9946edeeb738",
    ),
    "DenseNet169": (
        f"densenet/densenet169{_TF}",
        "d699b8f76981ab1b30698df4c175e90b",
        "b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    "DenseNet201": (
        f"densenet/densenet201{_TF}",
        "1ceb130c1ea1b78c3bf6114dbdfd8807",
        "c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
    "ResNet50": (
        f"resnet/resnet50{_TF}",
        "2cb95161c43110f7111970584f804107",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "ResNet101": (
        f"resnet/resnet101{_TF}",
        "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        "88cf7a10940856eca736dc7b7e228a21",
    ),
    "ResNet152": (
        f"resnet/resnet152{_TF}",
        "100835be76be38e30d865e96f2aaae62",
        "ee4c566cf9a93f14d82f913c2dc6dd0c",
    ),
    "ResNet50V2": (
        f"resnet/resnet50v2{_TF}",
        "3ef43a0b657b3be2300d5770ece849e0",
        "fac2f116257151a9d068a22e544a4917",
    ),
    "ResNet101V2": (
        f"resnet/resnet101v2{_TF}",
        "6343647c601c52e1368623803854d971",
        "c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "ResNet152V2": (
        f"resnet/resnet152v2{_TF}",
        "a49b44d1979771252814e80f8ec446f9",
        "ed17cf2e0169df9d443503ef94b23b33",
    ),
    "EfficientNetV2B0": (
        "efficientnet_v2/efficientnetv2-b0",
        "21ecbf6da12460d5c40bb2f29ceb2188",
        "893217f2bb855e2983157299931e43ff",
    ),
    "EfficientNetV2B1": (
        "efficientnet_v2/efficientnetv2-b1",
        "069f0534ff22adf035c89e2d9547a9dc",
        "0e80663031ca32d657f9caa404b6ec37",
    ),
    "EfficientNetV2B2": (
        "efficientnet_v2/efficientnetv2-b2",
        "424e49f28180edbde1e94797771950a7",
        "1dfe2e7a5d45b6632553a8961ea609eb",
    ),
    "EfficientNetV2B3": (
        "efficientnet_v2/efficientnetv2-b3",
        "1f1fc43bd98a6e4fd8fdfd551e02c7a0",
        "f6abf7b5849ac99a89b50dd3fd532856",
    ),
    "EfficientNetV2S": (
        "efficientnet_v2/efficientnetv2-s",
        "e1d88a8495beba45748fedd0cecbe016",
        "af0682fb74e8c54910f2d4393339c070",
    ),
    "EfficientNetV2M": (
        "efficientnet_v2/efficientnetv2-m",
        "a3bf6aa3276309f4fc6a34aa114c95cd",
        "1b8dc055df72dde80d614482840fe342",
    ),
    "EfficientNetV2L": (
        "efficientnet_v2/efficientnetv2-l",
        "27e6d408b53c7ebc868fefa357689935",
        "b0b66b5c863aef5b46e8608fe1711615",
    ),
    "ConvNeXtTiny": (
        "convnext/convnext_tiny",
        "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "ConvNeXtSmall": (
        "convnext/convnext_small",
        "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
    "ConvNeXtBase": (
        "convnext/convnext_base",
        "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
        "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    ),
    "ConvNeXtLarge": (
        "convnext/convnext_large",
        "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
        "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    ),
    "ConvNeXtXLarge": (
        "convnext/convnext_xlarge",
        "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
        "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    ),
}
_EFFICIENTNET = {
    "B0": ("902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    "B1": ("1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    "B2": ("b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "B3": ("ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    "B4": ("18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    "B5": ("ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    "B6": ("165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    "B7": ("8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
}
_MOBILENET_V3 = {  # the size that Keras takes by itself comes first
    "MobileNetV3Small": {
        "small_224_1.0": ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
        "small_224_0.75": ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
        "small_minimalistic_224_1.0": (
            "99cd97fb2fcdad2bf028eb838de69e37",
            "cde8136e733e811080d9fcd8a252f7e4",
        ),
    },
    "MobileNetV3Large": {
        "large_224_1.0": ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
        "large_224_0.75": ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
        "large_minimalistic_224_1.0": (
            "675e7b876c45c57e9e63e6d90a36599c",
            "ec5221f64a2f6d1ef965a614bdae7973",
        ),
    },
}
_NASNET = {
    "NASNetMobile": (
        "mobile",
        "020fb642bf7360b370c678b08e0adf61",
        "1ed92395b5b598bdda52abe5c0dbfd63",
    ),
    "NASNetLarge": (
        "large",
        "11577c9a518f0070763c2b964a382f17",
        "d81d89dc07e6e56530c4e77faddd61b5",
    ),
}
# No checksums of MobileNet and MobileNetV2 are published; each width and image size has a file.
_MOBILENET = [
    f"{width}_{side}" for width in ("1_0", "7_5", "5_0", "2_5") for side in (224, 192, 160, 128)
]
_MOBILENET_V2 = [
    *(
        f"{width}_{side}"
        for width in ("1.0", "0.75", "0.5", "0.35")
        for side in (224, 192, 160, 128, 96)
    ),
    *("1.3_224", "1.4_224"),
]
ARCHITECTURES = frozenset(
    {
        *_PUBLISHED,
        *_MOBILENET_V3,
        *_NASNET,
        "MobileNet",
        "MobileNetV2",
        *(f"EfficientNet{size}" for size in _EFFICIENTNET),
    }
)

# decode_predictions() of every architecture looks for this file.
# Source: keras/src/applications/imagenet_utils.py
CLASS_INDEX = Source(
    "imagenet_class_index.json",
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "c2c37ea517e94d9795004a39431a14cb",
)


def sources(
    architecture: str, include_top: bool, alpha: float | None = None, side: int | None = None
) -> list[Source]:
    """The files that Keras may look for; a MobileNet has several, Keras's own choice first.

    Args:
        architecture: one of `ARCHITECTURES`.
        include_top: with the 1,000 classes, or without.
        alpha: the width multiplier of a MobileNet; None for all.
        side: the height and width of its images in pixels; None for all. Keras takes 224 for a
            size that has no file.
    """
    candidates = list(_sources(architecture, include_top))
    sizes = {source.file: _size(source.file) for source in candidates}
    sides = {size[1] for size in sizes.values() if size}
    if side is not None and side not in sides:
        side = 224
    return [source for source in candidates if _fits(sizes[source.file], alpha, side)]


def _size(file: str) -> tuple[float, int] | None:
    """The width multiplier and the side of the images, from a MobileNet's file name."""
    if match := re.match(r"mobilenet_(\d_\d)_(\d+)_tf", file):
        return {"1_0": 1.0, "7_5": 0.75, "5_0": 0.5, "2_5": 0.25}[match[1]], int(match[2])
    if match := re.match(rf"mobilenet_v2{_TF}_([\d.]+)_(\d+)", file):
        return float(match[1]), int(match[2])
    match = re.match(r"weights_mobilenet_v3_\w+_224_([\d.]+)_float", file)
    return (float(match[1]), 224) if match else None


def _fits(size: tuple[float, int] | None, alpha: float | None, side: int | None) -> bool:
    return size is None or (alpha in (None, size[0]) and side in (None, size[1]))


def _sources(architecture: str, include_top: bool) -> Iterator[Source]:
    which = 0 if include_top else 1
    if architecture in _PUBLISHED:
        path, *digests = _PUBLISHED[architecture]
        yield _source(_BASE, path, ("", "_notop")[which], digests[which])
    elif architecture in _MOBILENET_V3:
        for size, both in _MOBILENET_V3[architecture].items():
            path = f"mobilenet_v3/weights_mobilenet_v3_{size}_float"
            yield _source(_BASE, path, ("", "_no_top_v2")[which], both[which])
    elif architecture in _NASNET:
        size, *digests = _NASNET[architecture]
        url = f"{_BASE}/nasnet/NASNet-{size}{('', '-no-top')[which]}.h5"
        yield Source(f"nasnet_{size}{('', '_no_top')[which]}.h5", url, digests[which])
    elif architecture == "MobileNet":
        for size in _MOBILENET:
            yield _source(_BASE, f"mobilenet/mobilenet_{size}_tf", ("", "_no_top")[which], "")
    elif architecture == "MobileNetV2":
        for size in _MOBILENET_V2:
            yield _source(
                _BASE, f"mobilenet_v2/mobilenet_v2{_TF}_{size}", ("", "_no_top")[which], ""
            )
    else:
        size = architecture.removeprefix("EfficientNet")
        base = "https://storage.googleapis.com/keras-applications"
        yield _source(
            base, f"efficientnet{size.lower()}", ("", "_notop")[which], _EFFICIENTNET[size][which]
        )


def _source(base: str, path: str, ending: str, digest: str) -> Source:
    return Source(f"{path.rpartition('/')[2]}{ending}.h5", f"{base}/{path}{ending}.h5", digest)


def find_source(file: str) -> tuple[str, bool, Source] | None:
    """What a file name of Keras stands for.

    Returns:
        the architecture, whether the file has the 1,000 classes, and its source; None if Keras
        looks for no such file.
    """
    for architecture in sorted(ARCHITECTURES):
        for include_top in (True, False):
            for source in _sources(architecture, include_top):
                if source.file == file:
                    return architecture, include_top, source
    return None


def find_weights(
    models: Path,
    architecture: str,
    include_top: bool,
    alpha: float | None = None,
    side: int | None = None,
) -> list[Path]:
    """The files with an architecture's ImageNet weights that are staged.

    Args:
        models: Keras's ``models`` folder.
        architecture, include_top, alpha, side: as `sources` takes them.
    """
    files = [models / source.file for source in sources(architecture, include_top, alpha, side)]
    return [file for file in files if file.exists()]
