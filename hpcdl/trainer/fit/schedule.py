"""The learning rate of each step: a function of its number, so an interruption changes nothing."""

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

    With d, the epochs since the warm-up (a fraction): step gives base * factor^floor(d / every),
    exponential base * factor^(d / every), cosine goes from base to base * factor along half a
    cosine until the last step. During warm-up the rate grows in a straight line. `Plateau`
    multiplies the result.

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
        if spec.name == "step":
            times = tf.floor(times)
        return tf.pow(tf.cast(factor, tf.float64), times)

    def rate(step: Any) -> Any:
        done = tf.cast(step, tf.float64)  # a float32 cannot count all steps of a long run
        scale = decayed(tf.maximum(done - warm, 0.0))
        if warm:
            scale *= tf.minimum((done + 1) / warm, 1.0)
        return tf.cast(base * scale, tf.float32)

    return rate


def grown(rate: Rate, factor: float, warm_steps: float) -> Rate:
    """A learning rate that grows to a multiple of itself in a straight line.

    Args:
        rate: by step, from 0.
        factor: what it is multiplied by in the end.
        warm_steps: the steps until then; 0 means from the first step on.
    """

    def scaled(step: Any) -> Any:
        share = tf.constant(1.0, tf.float64)
        if warm_steps:
            share = tf.minimum((tf.cast(step, tf.float64) + 1) / warm_steps, 1.0)
        return rate(step) * tf.cast(1 + (factor - 1) * share, tf.float32)

    return scaled


def _factor(spec: ScheduleSpec) -> float:
    if spec.factor is not None:
        return spec.factor
    return 0.0 if spec.name == "cosine" else 0.1


class Plateau:
    """Lowers the learning rate if a metric has not improved for some epochs.

    As ReduceLROnPlateau does it. Its memory is ``plateau`` of the run's state, which checkpoints
    hold: {best: the metric's best value or None, waited: epochs without a better one, times: how
    often it has multiplied}. A change up to 0.0001 is not an improvement, and neither is a value
    that is not a number.

    Source: https://keras.io/api/callbacks/reduce_lr_on_plateau/

    Args:
        spec: the schedule; its name is plateau.
        base: the optimizer's learning rate.
    """

    def __init__(self, spec: ScheduleSpec, base: float) -> None:
        self._spec, self._base = spec, base
        self._sign = 1.0 if EarlyStoppingSpec(spec.monitor).larger_is_better() else -1.0

    def scale(self, state: Dict[str, Any]) -> float:
        """The learning rate is multiplied by this now."""
        return float(_factor(self._spec) ** self._memory(state)["times"])

    def _memory(self, state: Dict[str, Any]) -> Dict[str, Any]:
        return state["plateau"] or {"best": None, "waited": 0, "times": 0}

    def judge(self, state: Dict[str, Any], metrics: Dict[str, float]) -> None:
        """Note an epoch's metrics in the state; says in the log when the rate changes."""
        monitor, patience = self._spec.monitor, self._spec.patience
        value, past = metrics[monitor], self._memory(state)
        if past["best"] is None:
            better = math.isfinite(value)
        else:
            better = self._sign * (value - past["best"]) > _PLATEAU_MIN_DELTA
        if better:
            state["plateau"] = dict(past, best=value, waited=0)
            return
        waited = past["waited"] + 1
        if waited < patience:
            state["plateau"] = dict(past, waited=waited)
            return
        before = self._base * self.scale(state)
        state["plateau"] = dict(past, waited=0, times=past["times"] + 1)
        after = self._base * self.scale(state)
        epochs = "{} epoch{}".format(patience, "s" if patience > 1 else "")
        message = "{} has not improved for {}: learning rate {:g} -> {:g}"
        say(message.format(monitor, epochs, before, after))
