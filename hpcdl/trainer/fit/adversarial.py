"""Adversarial training: an attack changes a share of each batch, in the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import tensorflow as tf

from hpcdl.contract.spec import AdversarialSpec, RunSpec
from hpcdl.trainer.dataset.source import my_rows
from hpcdl.trainer.fit.attack import Attack, attacked

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Adversary:
    """Changes images of a batch so that the model errs on them, before the model trains on them.

    Which rows, and from which noise the attack starts, depends on the seed, the step and the place
    in the batch alone: one replica and several attack the same images.

    Args:
        model: the model that trains, from images to classes.
        spec: train.adversarial.
        logits: whether the model gives logits.
        seed: the run's.
    """

    def __init__(self, model: Any, spec: AdversarialSpec, logits: bool, seed: int) -> None:
        self._model = model
        self._share = spec.share
        self._attack = Attack(spec.epsilon, spec.steps, logits)
        self._seed = seed

    def hardened(self, images: Any, numbers: Any, step: Any, batch_rows: int) -> Any:
        """Inside `strategy.run`: the images of this replica, some of them attacked.

        Args:
            images: float32 (rows, height, width, channels) in [0, 1], this replica's.
            numbers: their class numbers, int32 (rows,).
            step: the step's number, int64.
            batch_rows: the rows of the batch, over all replicas together.
        """
        first, last, _ = my_rows(batch_rows)
        places = attacked_places(batch_rows, self._share)
        mine = np.flatnonzero((places >= first) & (places < last))
        if not len(mine):
            return images
        # Philox draws the same numbers on CPUs and GPUs
        noise = tf.random.stateless_uniform(
            [len(places), *images.shape[1:]],
            tf.stack([tf.constant(self._seed, tf.int64), step]),
            -1.0,
            1.0,
            alg="philox",
        )
        rows = places[mine] - first
        hard = attacked(
            self._model,
            tf.gather(images, rows),
            tf.gather(numbers, rows),
            self._attack,
            tf.gather(noise, mine),
        )
        return tf.tensor_scatter_nd_update(images, rows[:, np.newaxis], hard)


def adversary_of(run: RunSpec, model: Any) -> Optional[Adversary]:
    """What attacks images while a model trains; None without train.adversarial."""
    spec = run.train.adversarial
    if spec is None:
        return None
    return Adversary(model, spec, run.model.output == "logits", run.train.seed)


def attacked_places(batch_rows: int, share: float) -> NDArray[Any]:
    """The places in a batch that are attacked, evenly spread over it, int64.

    So each replica has its part of the work.
    """
    counted = np.floor(np.arange(batch_rows + 1) * share + 0.5)
    return np.flatnonzero(np.diff(counted))
