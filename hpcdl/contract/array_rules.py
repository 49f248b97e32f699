"""What the arrays of a data set must be: shapes, types, labels, and rows of each class.

The rules are about facts, not about arrays: ``hpcdl check`` knows shapes from heads alone.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence

ROWS_PER_CLASS = 2  # fewer training rows than this teach nothing about a class
_HIGHEST_CLASS = 2**31 - 1  # class numbers are int32
_SHOWN = 5  # classes named in a message


class Labels(NamedTuple):
    """The facts of one part's class numbers.

    rows: how many there are.
    highest: the largest class number.
    counts: the rows of each class from 0 to the highest; None if they were not counted.
    """

    rows: int
    highest: int
    counts: Optional[Sequence[int]]


def wrong_images(name: str, shape: Sequence[int], kind: str, dtype: str) -> str:
    """What is wrong with an array of images by its head; nothing if it can be used.

    Args:
        name: of the array.
        shape: of the array.
        kind: numpy's letter for the kind of its numbers.
        dtype: their type, for the message.
    """
    shape = tuple(shape)
    is_grey = len(shape) == 3
    has_channels = len(shape) == 4 and 1 <= shape[3] <= 4
    if 0 in shape or not (is_grey or has_channels):
        return (
            "{}: has shape {}; expected (rows, height, width), or that with 1 to 4 channels as well"
        ).format(name, shape)
    if kind not in "iuf":
        return "{}: has dtype {}; expected uint8, or numbers from 0 to 255".format(name, dtype)
    return ""


def wrong_labels(name: str, shape: Sequence[int], kind: str, dtype: str) -> str:
    """What is wrong with an array of labels by its head, as `wrong_images` tells it."""
    shape = tuple(shape)
    if len(shape) not in (1, 2) or 0 in shape:
        return ("{}: has shape {}; expected (rows,), (rows, 1) or one-hot (rows, classes)").format(
            name, shape
        )
    if kind not in "iufb":
        return "{}: has dtype {}; expected whole numbers from 0".format(name, dtype)
    return ""


def not_one_hot(name: str, shape: Sequence[int]) -> str:
    """What is wrong with labels of several columns that are not one-hot."""
    return "{}: has shape {} but is not one-hot; expected a single 1 in each row".format(
        name, tuple(shape)
    )


def wrong_class_numbers(name: str, low: float, high: float, whole: bool) -> str:
    """What is wrong with class numbers by their values; nothing if they can be used.

    Args:
        name: of the array.
        low: the smallest number.
        high: the largest number.
        whole: whether none of them has a fraction, or is NaN.
    """
    if not whole:
        return "{}: holds fractions, NaN or infinity; expected whole numbers from 0".format(name)
    if low < 0 or high > _HIGHEST_CLASS:
        return "{}: values go from {} to {}; expected class numbers from 0".format(name, low, high)
    return ""


def wrong_counts(part: str, images: int, labels: int) -> str:
    """What is wrong when a part does not have a label for each image."""
    if images == labels:
        return ""
    return "x_{0}: has {1} images but y_{0} has {2} labels; expected the same number".format(
        part, images, labels
    )


def wrong_test_size(train: Sequence[int], test: Sequence[int]) -> str:
    """What is wrong when the test images do not have the shape of the training images.

    Args:
        train: (height, width, channels) of the training images; without channels, there is one.
        test: the same of the test images.
    """
    train_shape, test_shape = ((*shape, 1)[:3] for shape in (train, test))
    if train_shape == test_shape:
        return ""
    return "x_test: images of shape {}; expected {} as in x_train".format(test_shape, train_shape)


def class_problems(train: Labels, test: Optional[Labels], named: Optional[int] = None) -> List[str]:
    """What is wrong with the classes of a set: how many there are, and the rows of each.

    Args:
        train: the labels of the training part.
        test: those of the test part, if they can be used.
        named: the number of classes, where they have names; else the training labels show it.
    """
    problems = []
    classes = named or train.highest + 1
    if classes < 2:
        problems.append("y_train: holds class 0 alone; expected at least 2 classes")
    elif classes * ROWS_PER_CLASS > train.rows:
        problems.append(
            "y_train: {} rows for classes 0 to {}; expected at least {} rows of each class".format(
                train.rows, classes - 1, ROWS_PER_CLASS
            )
        )
    elif train.counts is not None:
        problems += _too_few_rows(_rows_of_each(train.counts, classes))
    if test is None:
        return problems
    if test.highest >= classes > 1:
        problems.append(
            "y_test: holds class {}; expected classes 0 to {} as in y_train".format(
                test.highest, classes - 1
            )
        )
    elif test.counts is not None and not problems:
        problems += _untested(_rows_of_each(test.counts, classes))
    return problems


def split_off(rows: int, share: float) -> int:
    """How many rows of a class are split off as another part, of which each class gives a share."""
    return round(rows * share)


def _rows_of_each(counts: Sequence[int], classes: int) -> List[int]:
    """The rows of every class; those above the highest label have none."""
    return [*counts, *[0] * (classes - len(counts))]


def _too_few_rows(counts: List[int]) -> List[str]:
    few = []
    for label, rows in enumerate(counts):
        if rows < ROWS_PER_CLASS:
            few.append("class {} has {}".format(label, rows))
    if not few:
        return []
    return [
        "y_train: {}; expected at least {} rows of each class".format(_first(few), ROWS_PER_CLASS)
    ]


def _untested(counts: List[int]) -> List[str]:
    missing = [str(label) for label, rows in enumerate(counts) if not rows]
    if not missing:
        return []
    return [
        "y_test: has no row of class {}; expected some of each of the {} classes".format(
            _first(missing), len(counts)
        )
    ]


def _first(texts: List[str]) -> str:
    more = ", ..." if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
