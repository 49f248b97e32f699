"""How many test images a model gets right when attacks change them. A failure fails no run."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List

import numpy as np
import tensorflow as tf

from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.fit.attack import Attack, attacked
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session

PGD_STEPS = 10
_MOST_ROWS = 1000
_FEWEST_ROWS = 10  # with fewer, an accuracy means nothing
_MOST_S = 300.0  # for all attacks of a run together, about
_BATCH_ROWS = 32
_STREAM = 0xA77AC  # keeps these random numbers apart from those of the training


class NotMeasuredError(Exception):
    """The attacks were not measured, for a reason that the user is told."""


def accuracy_under_attack(
    session: Session, model: Any, source: Source, labels: Any
) -> Dict[str, Any]:
    """``test.attack`` of result.json, by the epsilons of the section `test`.

    All epsilons and both attacks see the same rows, at most 1,000, chosen by the seed.

    Args:
        session: the training.
        model: from images to classes.
        source: the test images.
        labels: the class numbers of all rows of the source, int32.

    Returns:
        ``rows`` (how many), ``accuracy`` (of these, as they are), ``by_epsilon`` (a list of
        ``epsilon``, ``fgsm`` and ``pgd``: the accuracy under either attack), ``pgd_steps``;
        or ``problem``, why there are no figures.
    """
    about: Dict[str, Any] = {"rows": 0, "by_epsilon": [], "pgd_steps": PGD_STEPS}
    try:
        _Attacker(session, model, source, labels).measure(about)
    except NotMeasuredError as error:
        about["problem"] = str(error)
    except Exception as error:  # a user's model may do anything, and its training is done
        reason = " ".join(str(error).split())[:300]
        about["problem"] = "{}: {}".format(type(error).__name__, reason)
    if "problem" in about:
        about["by_epsilon"] = []
        say("attacks were not measured: {}".format(about["problem"]))
    return about


class _Attacker:
    """Attacks a model a batch at a time, on one device."""

    def __init__(self, session: Session, model: Any, source: Source, labels: Any) -> None:
        self._run, self._run_dir = session.run, session.run_dir
        self._together = session.together
        self._source, self._labels = source, labels
        self._logits = session.run.model.output == "logits"
        self._batch_rows = min(_BATCH_ROWS, session.run.train.batch_size)

        def outputs(images: Any) -> Any:
            return model(images, training=False)

        graph = tf.function(outputs)
        # One graph for all steps of all attacks: PGD's ten would be ten times as long to trace
        self._model: Callable[..., Any] = lambda images, training: graph(images)

    def measure(self, about: Dict[str, Any]) -> None:
        """Fill in ``rows``, ``accuracy`` and ``by_epsilon``.

        Raises:
            NotMeasuredError: there is no time.
        """
        rows = self._affordable(chosen_rows(len(self._labels), self._run.train.seed))
        about["rows"] = len(rows)
        about["accuracy"] = self._accuracy(rows, None)
        for epsilon in self._run.test.attack:
            fgsm = self._accuracy(rows, Attack(epsilon, 1, self._logits))
            pgd = self._accuracy(rows, Attack(epsilon, PGD_STEPS, self._logits))
            about["by_epsilon"].append({"epsilon": epsilon, "fgsm": fgsm, "pgd": pgd})
            message = "attacked, epsilon {:g}: accuracy {:.4f} (FGSM), {:.4f} (PGD), was {:.4f}"
            say(message.format(epsilon, fgsm, pgd, about["accuracy"]))

    def _affordable(self, rows: Any) -> Any:
        """As many of the rows as there is time for.

        Raises:
            NotMeasuredError: hardly any.
        """
        batch = rows[: self._batch_rows]
        images, numbers = self._take(next(self._source.each_whole(batch, len(batch))), batch)
        attack = Attack(self._run.test.attack[0], 1, self._logits)
        attacked(self._model, images, numbers, attack)  # traces the graph
        started = time.perf_counter()
        attacked(self._model, images, numbers, attack).numpy()
        row_s = (time.perf_counter() - started) / len(batch)
        passes = (1 + PGD_STEPS) * len(self._run.test.attack)
        # Of worker 0: the model may ask all of them for its averages
        row_s = self._together.first_says([row_s])[0]
        affordable = int(_MOST_S / (row_s * passes))
        if affordable < min(_FEWEST_ROWS, len(rows)):
            raise NotMeasuredError(
                "they would take {:.0f} s an image, and may take {:.0f} s together".format(
                    row_s * passes, _MOST_S
                )
            )
        return rows[:affordable]

    def _accuracy(self, rows: Any, attack: Any) -> float:
        """The share of the rows that the model gets right; without an attack, as they are."""
        right: List[Any] = []
        first = 0
        for item in self._source.each_whole(rows, self._batch_rows):
            size = int(tf.nest.flatten(item)[0].shape[0])
            batch = rows[first : first + size]
            images, numbers = self._take(item, batch)
            if attack is not None:
                images = attacked(
                    self._model, images, numbers, attack, self._noise(attack, images, first)
                )
            answers = tf.argmax(self._model(images, training=False), axis=-1, output_type=tf.int32)
            right.append(tf.equal(answers, numbers).numpy())
            first += size
            self._beat()
        return float(np.concatenate(right).mean())

    def _noise(self, attack: Attack, images: Any, first: int) -> Any:
        """Where PGD starts, by the seed and the rows' places; None for FGSM, from the image."""
        if attack.steps == 1:
            return None
        seed = [self._run.train.seed, _STREAM + first]
        return tf.random.stateless_uniform(images.shape, seed, -1.0, 1.0, alg="philox")

    def _take(self, item: Any, rows: Any) -> Any:
        """The images of an item, and their class numbers."""
        return self._source.take(item)[0], tf.constant(self._labels[rows], tf.int32)

    def _beat(self) -> None:
        """Say that the run is alive.

        Raises:
            NotMeasuredError: somebody asks it to end; the model is to be saved first.
        """
        self._run_dir.heartbeat()
        if self._together.first_says([self._run_dir.stop_requested()])[0]:
            raise NotMeasuredError("the run was asked to end")


def chosen_rows(rows: int, seed: int) -> Any:
    """At most 1,000 row numbers, int32, in an order that depends on the seed alone."""
    order = np.random.default_rng([seed, _STREAM]).permutation(rows)
    return order[:_MOST_ROWS].astype(np.int32)
