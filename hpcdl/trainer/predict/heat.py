"""Heat maps of the least certain images of a prediction, by occlusion. A failure fails nothing."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from hpcdl.trainer.explain.squares import SIDE, hottest_tenth, shades, squares
from hpcdl.trainer.runtime.log import say

MOST_S = 15.0  # for all maps of a prediction together
_SIDES = (SIDE, 0.3, 0.5)  # of the square: a larger one has fewer positions
_AT_ONCE = 32  # copies of an image
_QUICK_S = 0.25  # a pass that takes less is measured again, with this many images at once:
_MEASURED = 8
_OTHER_PASSES = 3  # of an image: as it is, and twice with a tenth of it hidden


class NoHeatError(Exception):
    """There are no maps, for a reason that the user is told."""


def heat_maps(
    models: Callable[[Any], Any], images: Any, beat: Callable[[], None], most_s: float = MOST_S
) -> Tuple[Dict[str, Any], Any]:
    """Where hiding a square takes the most probability from each image's answer.

    Source: https://arxiv.org/abs/1311.2901, section 4.2, as training runs have it.

    Args:
        models: from uint8 images (rows, height, width, channels) to float32 (rows, classes).
        images: uint8 (rows, height, width, channels), the most important first.
        beat: called after some passes; it may raise `NoHeatError`.
        most_s: as many maps are made as fit in this time.

    Returns:
        ``explain`` of result.json: ``method``, ``images`` (with a map), ``side`` (of the square, as
        a share of the image's), ``fall`` (of the answer's probability, where the hottest tenth is
        hidden; the mean), ``random_fall`` (where a random tenth is); where it applies ``left_out``
        (images that there was no time for) and ``problem`` (why there are no maps). And the heat,
        uint8 (images with a map, height, width), 255 the hottest.
    """
    started = time.perf_counter()
    about: Dict[str, Any] = {"method": "occlusion", "images": 0}
    heat: List[Any] = []
    falls: List[Any] = []
    try:
        share = _square_side(models, images, most_s)
        about["side"] = share
        colour = np.rint(images.mean(axis=(0, 1, 2))).astype(np.uint8)
        make = _Maker(models, colour, share, beat)
        for image in images:
            before_s = time.perf_counter()
            its_heat, its_falls = make(image)
            heat.append(its_heat)
            falls.append(its_falls)
            now_s = time.perf_counter()
            if now_s - started + (now_s - before_s) > most_s:  # the next one takes as long
                break
        result = shades(np.stack(heat))
        about["images"] = len(heat)
        for name, fall in zip(("fall", "random_fall"), np.mean(falls, axis=0)):
            about[name] = round(float(fall), 4) + 0.0  # no -0.0
        if len(heat) < len(images):
            about["left_out"] = len(images) - len(heat)
    except NoHeatError as error:
        about["problem"] = str(error)
    except Exception as error:  # the predictions are done
        reason = " ".join(str(error).split())[:300]
        about["problem"] = "{}: {}".format(type(error).__name__, reason)
    if "problem" in about:
        say("no heat maps: {}".format(about["problem"]))
        return about, np.empty((0, *images.shape[1:3]), np.uint8)
    seconds = time.perf_counter() - started
    say("heat maps of {} images by occlusion in {:.1f} s".format(len(heat), seconds))
    return about, result


def _square_side(models: Callable[[Any], Any], images: Any, most_s: float) -> float:
    """The smallest side of a square with which there is time for all maps; else the largest.

    Raises:
        NoHeatError: there is time for not even one map.
    """
    models(images[:1])  # the first pass prepares the next ones
    pass_s = _seconds_an_image(models, images[:1])
    if pass_s < _QUICK_S:  # many at a time take less than one by one, and a busy CPU misleads less
        pass_s = _seconds_an_image(models, np.repeat(images[:1], _MEASURED, axis=0))
    height, width = images.shape[1:3]
    for share in _SIDES:
        image_s = pass_s * (len(squares(height, width, share)) + _OTHER_PASSES)
        if image_s * len(images) <= most_s:
            return share
    if image_s > most_s:
        message = "a map would take {:.0f} s, and all of them together may take {:.0f} s"
        raise NoHeatError(message.format(image_s, most_s))
    return _SIDES[-1]


def _seconds_an_image(models: Callable[[Any], Any], images: Any) -> float:
    started = time.perf_counter()
    models(images)
    return (time.perf_counter() - started) / len(images)


class _Maker:
    """Makes one map after the other.

    Args:
        models: from uint8 images to probabilities.
        colour: of what hides, uint8 (channels,).
        share: the square's side, where the image's shorter side is 1.
        beat: called after some passes; it may raise `NoHeatError`.
    """

    def __init__(
        self, models: Callable[[Any], Any], colour: Any, share: float, beat: Callable[[], None]
    ) -> None:
        self._models, self._colour = models, colour
        self._share, self._beat = share, beat
        self._random = np.random.default_rng(0)

    def __call__(self, image: Any) -> Tuple[Any, Any]:
        """The map of an image, and how far it can be trusted.

        Returns:
            float32 (height, width): the mean fall of the answer's probability over the squares that
            hide a pixel. And float32 (2,): its fall where the hottest tenth of the pixels is
            hidden, and where as many by chance are.
        """
        height, width = image.shape[:2]
        answer = self._models(image[None])[0]
        number = int(answer.argmax())
        fall_sum = np.zeros((height, width), np.float32)
        count = np.zeros((height, width), np.float32)
        places = squares(height, width, self._share)
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            copies = np.repeat(image[None], len(some), axis=0)
            for copy, (top, bottom, left, right) in zip(copies, some):
                copy[top:bottom, left:right] = self._colour
            falls = answer[number] - self._models(copies)[:, number]
            for fall, (top, bottom, left, right) in zip(falls, some):
                fall_sum[top:bottom, left:right] += fall
                count[top:bottom, left:right] += 1
            self._beat()
        heat = fall_sum / count
        if not np.isfinite(heat).all():
            raise NoHeatError("some of its values are not finite")
        hidden = hottest_tenth(np.stack([_blurred(heat), self._random.random(heat.shape)]))
        copies = np.where(hidden[..., None], self._colour, image)
        return heat, answer[number] - self._models(copies)[:, number]


def _blurred(heat: Any) -> Any:
    """The mean of each pixel and its neighbours: it breaks ties, as for training runs."""
    height, width = heat.shape
    total = np.zeros((2, height, width), np.float32)
    padded = np.pad(np.stack([heat, np.ones_like(heat)]), ((0, 0), (1, 1), (1, 1)))
    for down in range(3):
        for right in range(3):
            total += padded[:, down : down + height, right : right + width]
    return total[0] / total[1]
