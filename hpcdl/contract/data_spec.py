"""The section `data` of a run: the data set, and how its images are changed."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from hpcdl.contract.settings import setting

FLIPS = ("horizontal", "vertical", "both")
# Each augmentation: what its number means, and its bounds as `setting` has them
AUGMENTATIONS: Dict[str, Tuple[str, Dict[str, float]]] = {
    "flip": ("horizontal, vertical or both: each with even chances", {}),
    "rotate": ("up to that many degrees either way", {"gt": 0, "le": 180}),
    "zoom": ("up to this share nearer or farther", {"gt": 0, "lt": 1}),
    "shift": ("up to this share of the height and of the width", {"gt": 0, "lt": 1}),
    "contrast": ("distances from the image's mean times 1 - this to 1 + this", {"gt": 0, "lt": 1}),
    "brightness": ("up to this much added or taken away, where white is 1", {"gt": 0, "lt": 1}),
    "cutout": (
        "a square with this share of the shorter side is grey, anywhere",
        {"gt": 0, "lt": 1},
    ),
}


@dataclass
class DataSpec:
    """The data set: arrays in a file, a folder of images per class, a packed set, or what a
    function returns.

    A path is an ``.npz`` file in Keras's layout, or a folder: of MNIST-style IDX files, of images
    in a folder for each class (below ``train`` and ``test``, or without), of what
    ``hpcdl data pack`` made, or of TFRecord files (``train*.tfrecord`` and ``test*.tfrecord``).
    """

    name: Optional[str] = setting(
        "a staged data set: <data_root>/<name>.npz, or the folder <data_root>/<name>", None
    )
    path: Optional[str] = setting(
        "instead of name: an .npz file, or a folder of images per class, of IDX files, "
        "of a packed set or of TFRecords",
        None,
    )
    function: Optional[str] = setting(
        "instead of both: package.module:function, which returns (x_train, y_train), "
        "(x_test, y_test)",
        None,
        since="0.1.0",
    )
    args: Dict[str, Any] = setting("keyword arguments for the function", {}, since="0.1.0")
    image_size: Optional[List[int]] = setting(
        "[height, width] in pixels that images are resized to; needed if they differ in size",
        None,
        since="0.1.0",
        ge=1,
    )
    color: str = setting(
        "channels: grey, rgb, or auto: as they are, and rgb for image files and backbones",
        "auto",
        since="0.1.0",
        choices=("auto", "grey", "rgb"),
    )
    validation_split: float = setting(
        "share of the training rows of each class kept for validation, chosen by the seed",
        0.0,
        ge=0,
        lt=1,
    )
    test_split: float = setting(
        "share of the images of each class kept as the test part, if the set has none",
        0.2,
        since="0.1.0",
        gt=0,
        lt=1,
    )
    cache: str = setting(
        "where images wait: memory (decoded once), none (read again in each epoch), "
        "or auto: memory if they fit",
        "auto",
        since="0.1.0",
        choices=("auto", "memory", "none"),
    )
    augment: List[Any] = setting(
        "random changes of the training images, in a list: " + ", ".join(AUGMENTATIONS),
        [],
        since="0.1.0",
    )

    def channels(self, stored: int) -> int:
        """The channels that the model takes, for images that are stored with that many."""
        return {"auto": stored, "grey": 1, "rgb": 3}[self.color]


def augment_problems(entries: Sequence[Any]) -> List[Tuple[int, str]]:
    """What is wrong with a list of augmentations: (place in the list, what was expected there)."""
    problems: List[Tuple[int, str]] = []
    names = set()
    for place, entry in enumerate(entries):
        name = _augmentation_name(entry)
        if name is None:
            expected = "one key and its value, such as rotate: 15; the keys are {}"
            problems.append((place, expected.format(", ".join(AUGMENTATIONS))))
            continue
        expected = _augmentation_expects(name, entry[name])
        if expected:
            problems.append((place, "{}: {}".format(name, expected)))
        if name in names:
            problems.append((place, "{}: only once in the list".format(name)))
        names.add(name)
    return problems


def _augmentation_name(entry: Any) -> Optional[str]:
    """The augmentation that an entry of the list is; None if it is not one."""
    if not isinstance(entry, dict) or len(entry) != 1:
        return None
    (name,) = entry
    return name if name in AUGMENTATIONS else None


def _augmentation_expects(name: str, value: Any) -> str:
    """What an augmentation takes, if the value is not that; else empty."""
    if name == "flip":
        return "" if value in FLIPS else "one of " + ", ".join(FLIPS)
    about, bounds = AUGMENTATIONS[name]
    least, end = bounds["gt"], "below"
    most = bounds.get("lt", 0.0)
    if "le" in bounds:
        most, end = bounds["le"], "up to"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        reaches_end = value == most and "le" in bounds
        if least < value < most or reaches_end:
            return ""
    return "a number above {:g} and {} {:g} ({})".format(least, end, most, about)
