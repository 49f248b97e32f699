"""Doubts about a set: values in an unusual range, labels from 1, and arrays that nothing reads.

``hpcdl check`` uses it on a sample of the rows, the trainer on all of them.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

_DARK = 128  # images of 0 to 255 that are all below this are suspicious
_FAINT = 0.1  # the same for images of 0 to 1


def doubts(name: str, high: float, floats: bool) -> List[str]:
    """A warning if images probably have another range than the one that is assumed.

    Args:
        name: of the array.
        high: its largest value; its smallest is 0 or more.
        floats: whether it holds floats: up to 1 they are taken as [0, 1], all others as [0, 255].
    """
    if floats and high <= 1:
        if high >= _FAINT:
            return []
        return [
            "{}: values go up to {:.3g} only, and are taken as [0, 1]: nearly black. Were they "
            "divided by 255 twice? Store them as uint8 from 0 to 255, or as floats from 0 to "
            "1".format(name, high)
        ]
    if high >= _DARK:
        return []
    return [
        "{}: values go up to {:g}, and are taken as [0, 255]: nearly black. If {:g} is white, "
        "divide by it and store floats from 0 to 1: x.astype('float32') / {:g}".format(
            name, high, high, high or 1
        )
    ]


def count_from_zero(labels: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """Lower labels that all go from 1, as EMNIST's letters do, to class numbers from 0.

    Args:
        labels: the class numbers of each part, as arrays; replaced if they go from 1.

    Returns:
        a note for people, and the classes' names, which are the labels; both empty if they do not
        go from 1.
    """
    lowest = min((int(numbers.min()) for numbers in labels.values()), default=0)
    if lowest != 1:
        return [], []
    highest = max(int(numbers.max()) for numbers in labels.values())
    for part in labels:
        labels[part] = labels[part] - 1
    return [counted_from_one(highest)], [str(number) for number in range(1, highest + 1)]


def counted_from_one(highest: int) -> str:
    """The note about labels that go from 1."""
    return "labels go from 1 to {}: label 1 becomes class number 0, and so on".format(highest)


def deep(images: int) -> List[str]:
    """A note about images with 16 bits a value, by their number."""
    if not images:
        return []
    return [
        "{:,} PNG images have 16 bits a value, of which the upper 8 are taken: if values go up to "
        "4095 or less, as in 12-bit scans, they are nearly black. Spread them over 0 to 65535, or "
        "store 8 bits".format(images)
    ]


def out_of_range(name: str, low: Any, high: Any, dtype: str) -> str:
    """What is wrong with images that lie in neither range, with the remedy."""
    text = "{}: values go from {} to {} ({}); expected [0, 1] or [0, 255]".format(
        name, low, high, dtype
    )
    if float(low) < 0:
        remedy = "bring them there with (x - low) / (high - low), low and high of the whole set"
        return "{}: {}".format(text, remedy)
    return "{}: divide them by the largest value that they can have".format(text)


def unread(names: List[str]) -> List[str]:
    """A warning that names arrays which are not part of the four that are read."""
    if not names:
        return []
    text = "not used: {}. Only x_train, y_train, x_test and y_test are read".format(
        ", ".join(names)
    )
    if any("val" in name.lower() for name in names):
        text += (
            "; validation images come from x_train (data.validation_split): "
            "add yours to x_train and y_train"
        )
    return [text]
