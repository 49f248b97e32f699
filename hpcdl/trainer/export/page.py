"""Writes the page that holds a model and runs it: one HTML file that needs no network.

The page's JavaScript (`web/`) reads the .tflite file itself. It computes in float32 as TensorFlow
Lite does; the weights are rounded (`page_weights`), and how far that changes the answers is
measured here and said on the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from hpcdl.trainer.export.errors import NotExported
from hpcdl.trainer.export.lite_file import LiteFile
from hpcdl.trainer.export.lite_names import name_of_operation
from hpcdl.trainer.export.page_errors import errors_of_weights
from hpcdl.trainer.export.page_letters import ENCODING, bytes_in_page
from hpcdl.trainer.export.page_text import engine, operations, page_text
from hpcdl.trainer.export.page_weights import Rounded, Rounding

_CLOSE = 0.0008  # difference of a probability that needs no more bits
_MOST_BYTES = 4_000_000  # of a page, unless the model is larger than such a page can hold ...
_CHECKED_BYTES = 1000  # of a page, for what is known when the rest is
_BYTES_A_WEIGHT = 1.75  # ... which then gets this many
_FEW_BITS, _MANY_BITS = 8.5, 20.0  # of a weight, on average: where a search starts and ends
_FIRST_SIZE, _FINER = -12.0, 0.5  # of an error: see `page_weights.Rounding`
_NO_WEIGHTS = 1000.0  # an error of this size leaves nothing of any weight
_MOST_TRIES = 4
_USED_BITS = 7.83  # of a byte of the page
_MANY_WEIGHTS = 500_000  # trying all numbers of bits would take long
_MOST_SAMPLES = 12
_SAMPLE_BYTES = 200_000  # of all samples, before they are packed; at least four are shown
_HELD_TYPES = {0: "float32", 2: "int32", 4: "int64", 6: "bool"}  # TensorType

# The probabilities, float32 (rows, classes), of a .tflite file's bytes for float32 images in [0, 1]
Run = Callable[[bytes, Any], Any]


@dataclass
class Tested:
    """Test images, and what is known of them.

    images: uint8 (rows, height, width, channels).
    labels: int (rows,).
    probabilities: float32 (rows, classes), of the trained model.
    known: uint8 (any, height, width, channels), of the train part: what the rounding is fitted to.
    """

    images: Any
    labels: Any
    probabilities: Any
    known: Any


@dataclass
class PageFacts:
    """What a page says of its answers, for export.json.

    difference: the largest one of a probability to the trained model's, on these rows.
    agreement: the share of the rows with the trained model's answer.
    """

    rows: int
    difference: float
    agreement: float


def write_page(
    path: str, tflite: bytes, about: Dict[str, Any], tested: Tested, run: Run
) -> PageFacts:
    """Write the page that holds a model.

    Args:
        path: of the page.
        tflite: the model as a float32 .tflite file that takes one float32 image in [0, 1] and gives
            probabilities.
        about: the content of model.json; see `about.about_model`.
        tested: a hundred test images or so; some of them are shown.
        run: TensorFlow Lite.

    Raises:
        NotExported: the page cannot run this model. Nothing is written.
    """
    _check_can_run(tflite, about["shape"])
    rows = _shown(tested)
    rounding = Rounding(tflite, errors_of_weights(tflite, _scaled(tested.known)))
    described = {
        "fileBytes": len(tflite),
        "layers": rounding.places,
        "labels": [int(label) for label in tested.labels[rows]],
        **_drawing(tested.images),
    }
    extra = _extra(tested, rows, run, tflite)
    empty = 2 * len(page_text(b"", extra, about, described)) + _CHECKED_BYTES
    rounded, facts = _rounded(rounding, tested, run, empty)
    described["checked"] = {
        "images": facts.rows,
        "worst": facts.difference,
        "same": round(facts.agreement * facts.rows),
    }
    extra = _extra(tested, rows, run, rounded.content)
    text = page_text(rounded.stored, extra, about, described)
    with open(path, "w", encoding=ENCODING) as file:
        file.write(text)
    return facts


def _check_can_run(tflite: bytes, shape: List[int]) -> None:
    """Raise `NotExported`, with all that the page lacks."""
    if shape[2] not in (1, 3):
        message = "the page shows grey and RGB images; the model takes {} channels"
        raise NotExported(message.format(shape[2]))
    file = LiteFile(tflite)
    supported = operations()
    lacking = set()
    for operation in file.operations:
        if operation.code not in supported:
            lacking.add(operation.custom or name_of_operation(operation.code))
    if lacking:
        message = "the page's program does not have the operation {}"
        raise NotExported(message.format(", ".join(sorted(lacking))))
    types = set(file.types) - set(_HELD_TYPES)
    if types:
        message = "the page holds float32 models; this file has tensors of type {}"
        raise NotExported(message.format(", ".join(map(str, sorted(types)))))


def _shown(tested: Tested) -> Any:
    """The rows that the page shows: some of each class, and up to a third that were wrong."""
    most = min(_MOST_SAMPLES, max(4, _SAMPLE_BYTES // int(np.prod(tested.images.shape[1:]))))
    wrong = np.flatnonzero(tested.probabilities.argmax(axis=1) != tested.labels)[: most // 3]
    rows: List[int] = []
    counts: Dict[int, int] = {}
    right = [row for row in range(len(tested.labels)) if row not in set(wrong.tolist())]
    for row in right:
        counts[row] = sum(int(tested.labels[row] == tested.labels[other]) for other in right[:row])
    right.sort(key=lambda row: (counts[row], tested.labels[row], row))
    rows = [*right[: most - len(wrong)], *wrong.tolist()]
    return np.array(rows, dtype=int)


def _rounded(
    rounding: Rounding, tested: Tested, run: Run, other_bytes: int
) -> Tuple[Rounded, PageFacts]:
    """The weights with the fewest bits that keep the answers, or the best that fit into the page.

    Args:
        other_bytes: of the page, without the weights.
    """
    weights = max(1, rounding.weights)
    most = max(_MOST_BYTES - other_bytes, int(weights * _BYTES_A_WEIGHT))
    # One size of the errors says how many bits the others cost: half an error is one bit a weight
    first = _bytes_in_page(rounding.rounded(_FIRST_SIZE))
    if weights > _MANY_WEIGHTS:
        rounded = _largest_that_fits(rounding, most, first)
        return rounded, _compared(rounded, tested, run)
    without = _bytes_in_page(rounding.rounded(_NO_WEIGHTS))
    size = _FIRST_SIZE - (_FEW_BITS - (first - without) * _USED_BITS / weights)
    end = min(size, _FIRST_SIZE) - (_MANY_BITS - _FEW_BITS)
    tried: List[Tuple[Rounded, PageFacts]] = []
    while size > end:
        rounded = rounding.rounded(size)
        if tried and _bytes_in_page(rounded) > most:
            break
        tried.append((rounded, _compared(rounded, tested, run)))
        if tried[-1][1].difference <= _CLOSE:
            break
        size -= _FINER
    return min(tried, key=lambda pair: pair[1].difference)


def _largest_that_fits(rounding: Rounding, most: int, first: int) -> Rounded:
    """The smallest errors that fit into so many bytes of the page, almost."""
    size, used, tries = _FIRST_SIZE, first, 0
    best = None
    while best is None or (_bytes_in_page(best) < 0.99 * most and tries < _MOST_TRIES):
        # Aims at a little less, and less at each try, for bytes grow not quite evenly
        tries += 1
        size -= (most * (0.998 - 0.002 * tries) - used) * _USED_BITS / rounding.weights
        rounded = rounding.rounded(size)
        used = _bytes_in_page(rounded)
        if used <= most and (best is None or used > _bytes_in_page(best)):
            best = rounded
    return best


def _bytes_in_page(rounded: Rounded) -> int:
    return bytes_in_page(len(rounded.stored))


def _compared(rounded: Rounded, tested: Tested, run: Run) -> PageFacts:
    answers, trained = run(rounded.content, _scaled(tested.images)), tested.probabilities
    same = answers.argmax(axis=1) == trained.argmax(axis=1)
    return PageFacts(len(same), float(np.abs(answers - trained).max()), float(same.mean()))


def _scaled(images: Any) -> Any:
    """In [0, 1], as the page divides: in double precision, then rounded."""
    return (images / 255).astype(np.float32)


def _extra(tested: Tested, rows: Any, run: Run, content: bytes) -> bytes:
    """The page's engine, and its samples with the trained model's answers and the file's."""
    images = tested.images[rows]
    differences = images.copy()  # of a pixel to the one on its left: they deflate better
    differences[:, :, 1:] -= images[:, :, :-1]
    program = engine()
    answers = [tested.probabilities[rows], run(content, _scaled(images))]
    parts = [np.uint32(len(program)).tobytes(), program, differences.tobytes()]
    return b"".join([*parts, *(each.astype("<f4").tobytes() for each in answers)])


def _drawing(images: Any) -> Dict[str, Any]:
    """How a drawing looks like the images: the colours of ground and pen, and of what hides a part.

    ``centred``: whether the images are made as MNIST's: in a box of 20x20, their centre of mass in
    the middle of 28x28. Source: http://yann.lecun.com/exdb/mnist/
    """
    border = np.concatenate([images[:, 0], images[:, -1]], axis=1).reshape(-1, images.shape[3])
    ground = np.median(border, axis=0)
    ink = "#ffffff" if ground.mean() < 128 else "#000000"
    channels = images.shape[3]
    return {
        "ground": [int(level) for level in np.broadcast_to(ground, 3)],
        "ink": ink,
        "grey": [float(level) for level in images.reshape(-1, channels).mean(axis=0) / 255],
        "centred": _is_centred(images, ground),
    }


def _is_centred(images: Any, ground: Any) -> bool:
    if images.shape[1:] != (28, 28, 1):
        return False
    mass = np.abs(images[..., 0].astype(float) - ground[0])
    if (mass.sum(axis=(1, 2)) == 0).any():
        return False
    for axis in (1, 2):
        along = mass.sum(axis=3 - axis)
        middle = (along * np.arange(28)).sum(axis=1) / along.sum(axis=1)
        places = along > 0
        extent = 28 - places.argmax(axis=1) - places[:, ::-1].argmax(axis=1)
        if np.abs(middle - 14).max() > 0.6 or extent.max() > 20:
            return False
    return True
