"""Pictures of test images on a page, each with the map of where the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcdl.formats import points
from hpcdl.report.evaluation import Answer, Predictions
from hpcdl.report.png import data_uri

if TYPE_CHECKING:
    from numpy.typing import NDArray

# From little heat to much: it grows brighter, so that it reads without colours, too.
# The hues are apart for all kinds of colour blindness: https://jfly.uni-koeln.de/color/
_COLDER, _HOTTEST = (213, 94, 0), (255, 240, 130)
_DIMMED = 0.5  # what is left of the picture's brightness under the heat
_COVER = 0.85  # how much of the picture the hottest heat covers
_HOT = 128  # of 255: from here on a place counts for the text
_LEAST_FALL = 0.05  # of probability, beyond what hiding random pixels does
_BRIGHT = {
    "occlusion": "where hiding a square takes the most probability from its answer (occlusion)",
    "integrated_gradients": "the pixels that add the most to the probability of its answer, on the "
    "way from black to the picture (integrated gradients)",
    "smooth_grad": "where a small change would change its answer the most, as the mean over noisy "
    "copies (SmoothGrad)",
    "saliency": "where a small change would change its answer the most (saliency)",
    "grad_cam": "what speaks for its answer in one of its last layers (Grad-CAM)",
}


@dataclass(frozen=True)
class Picture:
    """One test image on the page.

    answer: what the model said of it.
    image: as a data URI.
    file: its name, if known.
    heat: the map over the dimmed image, as a data URI; "" if there is none.
    hottest: where the map is hottest, in words.
    """

    answer: Answer
    image: str
    file: str = ""
    heat: str = ""
    hottest: str = ""


def pictures_of(answers: Sequence[Answer], predictions: Predictions | None) -> list[Picture]:
    """The answers that have a picture, in their order."""
    if predictions is None:
        return []
    pictures = []
    for answer in answers:
        image = predictions.pictures.get(answer.row)
        if image is None:
            continue
        heat = predictions.heat.get(answer.row)
        heat_uri = hottest = ""
        if heat is not None:
            heat_uri, hottest = data_uri(overlay(image, heat)), hottest_place(heat)
        file = predictions.files.get(answer.row, "")
        pictures.append(Picture(answer, data_uri(image), file, heat_uri, hottest))
    return pictures


def overlay(image: NDArray[Any], heat: NDArray[Any]) -> NDArray[Any]:
    """The heat over the image in grey, uint8 (height, width, 3).

    Args:
        image: uint8 (height, width, channels).
        heat: uint8 (height, width), 255 the hottest.
    """
    import numpy as np

    share = heat.astype(np.float32)[..., None] / 255
    grey = image[..., :3].astype(np.float32).mean(axis=-1, keepdims=True) * _DIMMED
    colder = np.array(_COLDER, np.float32)
    colour = colder + share * (np.array(_HOTTEST, np.float32) - colder)
    cover = _COVER * share
    covered: NDArray[Any] = np.rint(grey + cover * (colour - grey)).astype(np.uint8)
    return covered


def hottest_place(heat: NDArray[Any]) -> str:
    """Where a map is hottest, for those who do not see it: "at the top left", "in the middle".

    Args:
        heat: uint8 (height, width), 255 the hottest.
    """
    import numpy as np

    rows, columns = np.nonzero(heat >= _HOT)
    if not len(rows):
        return "nowhere in particular"
    weights = heat[rows, columns].astype(np.float64)
    height, width = heat.shape
    middle_row = ((rows + 0.5) * weights).sum() / weights.sum() / height
    middle_column = ((columns + 0.5) * weights).sum() / weights.sum() / width
    vertical = _third(middle_row, ("top", "", "bottom"))
    horizontal = _third(middle_column, ("left", "", "right"))
    place = f"{vertical} {horizontal}".strip()
    return f"at the {place}" if place else "in the middle"


def _third(share: float, names: tuple[str, str, str]) -> str:
    """The name of the third in which a share of a length lies."""
    return names[min(2, int(share * 3))]


def heat_note(explain: Any) -> str:
    """What the maps show, and how far they can be trusted; "" if none were asked for.

    Args:
        explain: ``test.explain`` of result.json.
    """
    if not isinstance(explain, dict):
        return ""
    method = explain["method"]
    if "problem" in explain:
        return (
            f"There are no maps of where the model looked, by {method}: {explain['problem']}. "
            "test.explain in the job file chooses another method, or none."
        )
    bright = _BRIGHT.get(method, f"what counts for its answer ({method})")
    text = f"Below each picture is where the model looked. Bright: {bright}."
    return " ".join([text, *_trust(explain), *_missing(explain)])


def _trust(explain: dict[str, Any]) -> list[str]:
    """How far the answer's probability falls where the hottest tenth of the pixels is hidden."""
    fall, by_chance = explain.get("fall"), explain.get("random_fall")
    if fall is None or by_chance is None:
        return []
    text = (
        f"With the hottest tenth of a picture hidden, the probability of its answer falls by "
        f"{points(fall)} on average; with a tenth hidden by chance, by {points(by_chance)}."
    )
    if fall >= by_chance + _LEAST_FALL:
        return [text]
    return [text, "That is hardly more: these maps say little about this model."]


def _missing(explain: dict[str, Any]) -> list[str]:
    left_out = explain.get("left_out")
    if not left_out:
        return []
    total = left_out + explain["images"]
    return [f"There was time for the maps of {explain['images']} of {total} pictures."]
