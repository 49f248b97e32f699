"""Pruning while a model trains: the smallest weights become 0 and stay 0."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import UserCodeError
from hpcdl.contract.spec import PruneSpec
from hpcdl.trainer import compat
from hpcdl.trainer.runtime.log import say

_TIMES = 20  # how often weights become 0, from begin to end
_MOST_STEPS = 100  # between two of these times
_INFINITY_BITS = 0x7F800000  # of float32; the bits of floats >= 0 are in the order of the floats


class Pruner:
    """Sets the smallest kernel weights to 0, more and more of them, and keeps them there.

    A weight that is exactly 0 is a pruned one. Nothing else is stored, so that the weights in a
    checkpoint are all that a training needs to go on.

    All kernels are judged together, by the size of their weights. The share of zeros grows by the
    cubic rule of https://arxiv.org/abs/1710.01878, equation 1.

    Args:
        model: the model that trains.
        spec: train.prune.
        total: the steps of the training.
        begun: whether the model begins with another run's weights: then what is 0 in them is
            pruned. Otherwise it may only begin with 0, and counts from the first pruning on.

    Raises:
        UserCodeError: no kernel of the model trains.
    """

    def __init__(self, model: Any, spec: PruneSpec, total: int, begun: bool = False) -> None:
        self._kernels = [compat.tensorflow_variable(kernel) for kernel in compat.kernels(model)]
        if not self._kernels:
            message = "train.prune has nothing to prune: the model has no kernel that trains"
            raise UserCodeError(message, "leave out train.prune")
        self._weights = sum(int(np.prod(kernel.shape)) for kernel in self._kernels)
        self._sparsity = spec.sparsity
        self._last = max(0, min(round(spec.end * total), total) - 1)
        self._first = min(round(spec.begin * total), self._last)
        self._every = max(1, min(_MOST_STEPS, (self._last - self._first) // _TIMES))
        self._begun = begun

    @property
    def last(self) -> int:
        """The step after which no more weights become 0."""
        return self._last

    def pruned(self, step: Any) -> List[Any]:
        """In the graph, before a step: where each kernel must stay 0, bool like the kernels."""
        holds = tf.constant(True) if self._begun else step > self._first
        return [holds & tf.equal(kernel, 0) for kernel in self._kernels]

    def after(self, step: Any, pruned: List[Any]) -> None:
        """In the graph, after a step: set to 0 what was pruned, and what is pruned now.

        Args:
            step: its number.
            pruned: what `pruned` gave before it.
        """
        for kernel, zero in zip(self._kernels, pruned):
            kernel.assign(tf.where(zero, tf.zeros_like(kernel), kernel))
        since = step - self._first
        due = (since >= 0) & (since % self._every == 0) & (step <= self._last)
        if due | tf.equal(step, self._last):
            self._prune(since)

    def _prune(self, since: Any) -> None:
        length = max(1, self._last - self._first)
        rest = 1 - tf.cast(since, tf.float32) / length if self._last > self._first else 0.0
        zeros = tf.round(self._sparsity * (1 - rest**3) * self._weights)
        limit = self._limit(tf.cast(zeros, tf.int64))
        for kernel in self._kernels:
            small = tf.cast(tf.abs(kernel), tf.float32) <= limit
            kernel.assign(tf.where(small, tf.zeros_like(kernel), kernel))

    def _limit(self, zeros: Any) -> Any:
        """The smallest number that at least that many weights do not exceed in size, float32.

        It is found by bisection over the bits of a float, 31 of them. Sorting would take longer,
        and memory for all kernels at once; and a count is the same on every device.
        """
        sizes = [tf.cast(tf.abs(kernel), tf.float32) for kernel in self._kernels]
        low, high = tf.constant(0), tf.constant(_INFINITY_BITS)
        for _ in tf.range(31):
            middle = low + (high - low) // 2
            limit = tf.bitcast(middle, tf.float32)
            counts = [tf.math.count_nonzero(size <= limit, dtype=tf.int64) for size in sizes]
            enough = tf.add_n(counts) >= zeros
            high = tf.where(enough, middle, high)
            low = tf.where(enough, low, middle + 1)
        return tf.bitcast(high, tf.float32)


def sparsity_of(model: Any) -> Dict[str, Any]:
    """What result.json says about a pruned model.

    Returns:
        ``sparsity``, the share of kernel weights that are 0, and ``kernels``, that of each kernel
        by name.
    """
    zeros = weights = 0
    kernels = {}
    for kernel in compat.kernels(model):
        values = np.asarray(compat.tensorflow_variable(kernel))
        kernels[compat.name_of(kernel)] = float((values == 0).mean())
        zeros += int((values == 0).sum())
        weights += values.size
    shares = ", ".join("{} {:.3f}".format(name, share) for name, share in kernels.items())
    say("pruned: {:.4f} of {:,} kernel weights are 0 ({})".format(zeros / weights, weights, shares))
    return {"sparsity": zeros / weights, "kernels": kernels}


def sparsity_warnings(about: Dict[str, Any]) -> List[str]:
    """A warning for each kernel that is 0 as a whole: nothing passes through its layer.

    Args:
        about: what `sparsity_of` gave.
    """
    warnings = []
    for name, share in about["kernels"].items():
        if share == 1:
            warning = (
                "train.prune has set all of {} to 0, so that nothing passes through it: "
                "choose a smaller train.prune.sparsity".format(name)
            )
            say("warning: {}".format(warning))
            warnings.append(warning)
    return warnings
