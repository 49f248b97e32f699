"""The learning rate of each step: a function of its number alone, so that an interrupted run goes on as the whole."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict

import tensorflow as tf

from hpcdl.contract.spec import EarlyStoppingSpec, ScheduleSpec
from hpcdl.trainer.runtime.log import say

Rate = Callable[[Any], Any]
_PLATEAU_MIN_DELTA = 1e-4  # as ReduceLROnPlateau has it


def rate_of(spec: ScheduleSpec, base: float, steps_per_epoch: int, epochs: int) -> Rate:
    """The learning rate as a function of the step (from 0), in TensorFlow.

    With e, the epochs that the step has behind it (a fraction), and d, those behind it since the warm-up:
    step gives base * factor^floor(d / every), exponential base * factor^(d / every), cosine goes from base to
    base * factor along half a cosine until the last step; during warm-up it grows in a straight line.
    What `Plateau` multiplies by comes on top of it.

    Args:
        spec: the schedule.
        base: the optimizer's learning rate.
        steps_per_epoch: steps of an epoch.
        epochs: epochs of the whole training.

    Source of the cosine: https://arxiv.org/abs/1608.03983, equation 5.
    """
    factor = _factor(spec)
    warm = spec.warmup_epochs * steps_per_epoch
    rest = max(1.0, epochs * steps_per_epoch - warm)

    def decayed(since: Any) -> Any:
        if spec.name == "cosine":
            share = tf.minimum(since / rest, 1.0)
            return factor + (1 - factor) * (1 + tf.cos(math.pi * share)) / 2
        if spec.name in ("constant", "plateau"):
            return tf.ones_like(since)
        times = since / (spec.every_epochs * steps_per_epoch)
        return tf.pow(
            tf.cast(factor, tf.float64), tf.floor(times) if spec.name == "step" else times
        )

    def rate(step: Any) -> Any:
        done = tf.cast(step, tf.float64)  # a float32 cannot count all steps of a long run
        scale = decayed(tf.maximum(done - warm, 0.0))
        if warm:
            scale *= tf.minimum((done + 1) / warm, 1.0)
        return tf.cast(base * scale, tf.float32)

    return rate


def _factor(spec: ScheduleSpec) -> float:
    return spec.factor if spec.factor is not None else (0.0 if spec.name == "cosine" else 0.1)


class Plateau:
    """Multiplies the learning rate whenever a metric has not improved for some epochs, as ReduceLROnPlateau does.

    What it remembers it keeps in the run's state, which checkpoints hold: ``plateau`` ({best: the metric's best
    value or None, waited: epochs without a better one, times: how often it has multiplied}). A change up to
    0.0001 is no improvement, and what is not a number is none either.

    Source: https://keras.io/api/callbacks/reduce_lr_on_plateau/

    Args:
        spec: the schedule; its name is plateau.
        base: the optimizer's learning rate.
    """

    def __init__(self, spec: ScheduleSpec, base: float) -> None:
        self._spec, self._base = spec, base
        self._sign = 1.0 if EarlyStoppingSpec(spec.monitor).larger_is_better() else -1.0

    def scale(self, state: Dict[str, Any]) -> float:
        """What the learning rate is multiplied by now."""
        return float(_factor(self._spec) ** (state["plateau"] or {}).get("times", 0))

    def judge(self, state: Dict[str, Any], metrics: Dict[str, float]) -> None:
        """Note an epoch's metrics in the state; says in the log when the rate changes."""
        value, past = (
            metrics[self._spec.monitor],
            state["plateau"] or {"best": None, "waited": 0, "times": 0},
        )
        if past["best"] is None:
            better = math.isfinite(value)
        else:
            better = self._sign * (value - past["best"]) > _PLATEAU_MIN_DELTA
        if better:
            state["plateau"] = dict(past, best=value, waited=0)
            return
        state["plateau"] = dict(past, waited=past["waited"] + 1)
        if state["plateau"]["waited"] >= self._spec.patience:
            before = self._base * self.scale(state)
            state["plateau"] = dict(past, waited=0, times=past["times"] + 1)
            epochs = "{} epoch{}".format(
                self._spec.patience, "s" if self._spec.patience > 1 else ""
            )
            say(
                "{} has not improved for {}: learning rate {:g} -> {:g}".format(
                    self._spec.monitor, epochs, before, self._base * self.scale(state)
                )
            )
