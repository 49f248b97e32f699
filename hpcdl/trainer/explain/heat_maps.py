"""Heat maps of a few test images by the method that the run asks for. A failure fails no run."""

from __future__ import annotations

import time
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.explain import gradients, maps
from hpcdl.trainer.explain.answers import Answers
from hpcdl.trainer.explain.grad_cam import grad_cam
from hpcdl.trainer.explain.occlusion import occlusion
from hpcdl.trainer.explain.squares import squares
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session

_MOST_S = 30.0  # for all heat maps of a run together, about
_LARGEST_GAP = 0.1  # of integrated gradients: what their sum misses of the probability
_ROWS = 32  # at a time
_ROWS_WITH_SLOPES = 16
_PASS_WITH_SLOPES = 3  # as long as so many passes without


class NoHeatError(Exception):
    """There are no heat maps, for a reason that the user is told."""


class Asked(NamedTuple):
    """The images whose heat maps are asked for.

    rows: row numbers, int32; the most important first, as the last ones may be left out.
    classes: int32 (rows,): the answer that each map explains.
    height: of the maps, in pixels.
    width: of the maps, in pixels.
    """

    rows: Any
    classes: Any
    height: int
    width: int


class HeatMaps(NamedTuple):
    """What was found out.

    about: ``test.explain`` of result.json.
    arrays: by their names in predictions.npz: ``heat_rows`` int32 (rows,), and ``heat`` uint8
        (rows, height, width), 255 the hottest. Empty where it failed.
    """

    about: Dict[str, Any]
    arrays: Dict[str, Any]


def heat_maps(session: Session, method: str, model: Any, source: Source, asked: Asked) -> HeatMaps:
    """Make the heat maps. Whatever goes wrong is in ``about``, as ``problem``.

    Args:
        session: the training.
        method: one of `EXPLANATIONS` of the contract, but for auto and none.
        model: from images to classes.
        source: the images.
        asked: which of them.
    """
    started = time.perf_counter()
    about: Dict[str, Any] = {"method": method, "images": 0}
    arrays: Dict[str, Any] = {}
    try:
        arrays = _Maker(session, method, model).make(source, asked, about)
    except NoHeatError as error:
        about["problem"] = str(error)
    except Exception as error:  # a user's model may do anything, and its training is done
        reason = " ".join(str(error).split())[:300]
        about["problem"] = "{}: {}".format(type(error).__name__, reason)
    seconds = time.perf_counter() - started
    if "problem" in about:
        say("no heat maps by {}: {}".format(method, about["problem"]))
    else:
        say(
            "heat maps of {} images by {} in {:.1f} s; with the hottest tenth hidden, the answer's "
            "probability falls by {:.2f}".format(about["images"], method, seconds, about["fall"])
        )
    return HeatMaps(about, arrays)


class _Maker:
    """Makes the maps of a batch at a time."""

    def __init__(self, session: Session, method: str, model: Any) -> None:
        self._run, self._run_dir = session.run, session.run_dir
        self._together = session.together
        self._method = method
        self._model = model
        self._answers = Answers(model, session.run.model.output == "logits")
        self._batch_rows = min(_ROWS_WITH_SLOPES, session.run.train.batch_size)
        if method == "occlusion":
            self._batch_rows = min(_ROWS, session.scoring_rows)

    def make(self, source: Source, asked: Asked, about: Dict[str, Any]) -> Dict[str, Any]:
        """The arrays of predictions.npz; what is to be said of them is added to `about`."""
        items = source.each_whole(asked.rows, self._batch_rows)
        images = tf.concat([source.take(item)[0] for item in items], 0)
        colour = tf.reduce_mean(images, axis=[0, 1, 2])
        rows = self._affordable(images, asked.classes)
        if rows < len(asked.rows):
            about["left_out"] = len(asked.rows) - rows
        batches: List[Tuple[Any, maps.Falls]] = []
        for first in range(0, rows, self._batch_rows):
            batch = slice(first, min(rows, first + self._batch_rows))
            classes = tf.constant(asked.classes[batch])
            heat = self._heat(images[batch], classes, colour, about)
            if not np.isfinite(heat).all():
                raise NoHeatError("some of its values are not finite")
            falls = maps.falls(self._answers, images[batch], classes, colour, heat)
            batches.append((maps.as_bytes(heat, asked.height, asked.width), falls))
        about["images"] = rows
        for name in maps.Falls._fields:
            values = np.concatenate([getattr(falls, name) for _, falls in batches])
            about["fall" if name == "hottest" else "random_fall"] = round(float(values.mean()), 4)
        heat = np.concatenate([heat for heat, _ in batches])
        return {"heat_rows": asked.rows[:rows].astype(np.int32), "heat": heat}

    def _affordable(self, images: Any, classes: Any) -> int:
        """How many of the images there is time for.

        Raises:
            NoHeatError: not even one.
        """
        batch = images[: self._batch_rows]
        of_batch = tf.constant(classes[: self._batch_rows])
        self._answers(batch, of_batch)  # traces the graph
        started = time.perf_counter()
        self._answers(batch, of_batch).numpy()
        pass_s = (time.perf_counter() - started) / len(batch)
        # Of worker 0: the model may ask all of them for its averages
        pass_s = self._together.first_says([pass_s])[0]
        image_s = pass_s * self._passes(*images.shape[1:3])
        if image_s > _MOST_S:
            raise NoHeatError(
                "a map would take {:.0f} s, and all of them together may take {:.0f} s".format(
                    image_s, _MOST_S
                )
            )
        return min(len(images), int(_MOST_S / image_s))

    def _passes(self, height: int, width: int) -> int:
        """How many passes through the model a map takes."""
        copies = {
            "occlusion": len(squares(height, width)),
            "integrated_gradients": _PASS_WITH_SLOPES * gradients.INTEGRATION_STEPS,
            "smooth_grad": _PASS_WITH_SLOPES * gradients.NOISY_COPIES,
        }
        return copies.get(self._method, _PASS_WITH_SLOPES)

    def _heat(self, images: Any, classes: Any, colour: Any, about: Dict[str, Any]) -> Any:
        """The heat of a batch, float32 (rows, height, width).

        Raises:
            NoHeatError: the method does not fit this model.
        """
        answers, beat = self._answers, self._beat
        if self._method == "occlusion":
            return occlusion(answers, images, classes, colour, beat)
        if self._method == "saliency":
            return gradients.saliency(answers, images, classes)
        if self._method == "smooth_grad":
            return gradients.smooth_grad(answers, images, classes, self._run.train.seed, beat)
        if self._method == "grad_cam":
            heat, about["layer"] = grad_cam(answers, self._model, images, classes)
            return heat
        heat, gap = gradients.integrated_gradients(answers, images, classes, beat)
        about["gap"] = round(max(gap, about.get("gap", 0.0)), 4)
        if not gap <= _LARGEST_GAP:  # NaN, too
            raise NoHeatError(
                "they must add up to the answer's probability, and miss it by {:.2g}; expected {} "
                "at most. {} steps are too few for this model".format(
                    gap, _LARGEST_GAP, gradients.INTEGRATION_STEPS
                )
            )
        return heat

    def _beat(self) -> None:
        """Say that the run is alive.

        Raises:
            NoHeatError: somebody asks it to end; the model is to be saved first.
        """
        self._run_dir.heartbeat()
        if self._together.first_says([self._run_dir.stop_requested()])[0]:
            raise NoHeatError("the run was asked to end")
