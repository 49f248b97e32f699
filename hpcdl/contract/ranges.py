"""Doubts about a set: values in an unusual range, labels from 1, and arrays that nothing reads.

The host's ``hpcdl check`` says the same of a sample of the rows; standard library only.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

_DARK = 128  # images of 0 to 255 of which none is as bright as half of that
_FAINT = 0.1  # and the same for images of 0 to 1


def doubts(name: str, high: float, floats: bool) -> List[str]:
    """A warning where images are likely to have another range than the one that is taken.

    Args:
        name: of the array.
        high: its largest value; its smallest is 0 or more.
        floats: whether it holds floats: up to 1 they are taken as [0, 1], all others as [0, 255].
    """
    if floats and high <= 1:
        if high >= _FAINT:
            return []
        return [
            "{}: values go up to {:.3g} only, and are taken as [0, 1]: nearly black. Were they divided "
            "by 255 twice? Store them as uint8 from 0 to 255, or as floats from 0 to 1".format(
                name, high
            )
        ]
    if high >= _DARK:
        return []
    return [
        "{}: values go up to {:g}, and are taken as [0, 255]: nearly black. If {:g} is white, divide by it "
        "and store floats from 0 to 1: x.astype('float32') / {:g}".format(
            name, high, high, high or 1
        )
    ]


def count_from_zero(labels: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """Labels that all go from 1, as EMNIST's letters do, become class numbers from 0.

    Args:
        labels: the class numbers of each part, as arrays; changed where they go from 1.

    Returns:
        What people should know of it, and the classes' names, which are the labels; nothing where
        they do not go from 1.
    """
    if not labels or min(int(numbers.min()) for numbers in labels.values()) != 1:
        return [], []
    highest = max(int(numbers.max()) for numbers in labels.values())
    for part in labels:
        labels[part] = labels[part] - 1
    return [counted_from_one(highest)], [str(number) for number in range(1, highest + 1)]


def counted_from_one(highest: int) -> str:
    """What is said of labels that go from 1."""
    return "labels go from 1 to {}: label 1 becomes class number 0, and so on".format(highest)


def deep(images: int) -> List[str]:
    """What is said of images with 16 bits a value."""
    if not images:
        return []
    return [
        "{:,} PNG images have 16 bits a value, of which the upper 8 are taken: where values go up to "
        "4095 or less, as in 12-bit scans, they are nearly black. Spread them over 0 to 65535, or "
        "store 8 bits".format(images)
    ]


def out_of_range(name: str, low: Any, high: Any, dtype: str) -> str:
    """The fault of images that lie in neither range, with the remedy."""
    text = "{}: values go from {} to {} ({}); expected [0, 1] or [0, 255]".format(
        name, low, high, dtype
    )
    if float(low) < 0:
        return "{}: bring them there with (x - low) / (high - low), low and high of the whole set".format(
            text
        )
    return "{}: divide them by the largest value that they can have".format(text)


def unread(names: List[str]) -> List[str]:
    """A warning that names arrays which are not part of the four that are read."""
    if not names:
        return []
    text = "not used: {}. Only x_train, y_train, x_test and y_test are read".format(
        ", ".join(names)
    )
    if any("val" in name.lower() for name in names):
        text += "; validation images come from x_train (data.validation_split): add yours to x_train and y_train"
    return [text]
