"""Training steps by number: the model's train_step, many a call, for every strategy and Keras."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterator,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import tensorflow as tf

from hpcdl.contract.errors import UserCodeError
from hpcdl.contract.spec import ScheduleSpec, SpecError, TrainSpec
from hpcdl.trainer import compat
from hpcdl.trainer.dataset import augment
from hpcdl.trainer.dataset.balance import Balance
from hpcdl.trainer.dataset.load import epoch_order
from hpcdl.trainer.dataset.source import my_rows, my_share, with_answers
from hpcdl.trainer.fit.adversarial import Adversary
from hpcdl.trainer.fit.pruning import Pruner
from hpcdl.trainer.fit.schedule import Plateau, Rate, grown, rate_of
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.runtime.together import together_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_XLA_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    NotImplementedError,
)


class Pace:
    """How many steps the next call does, to last about `call_s` seconds. It changes no result."""

    def __init__(self, call_s: float = 1.0) -> None:
        self._call_s = call_s
        self._steps = 1
        self._traced = False

    def steps(self) -> int:
        """The number of steps to do now."""
        return self._steps

    def took(self, steps: int, seconds: float) -> None:
        """Learn from a call. The first one teaches nothing: it traced the graph."""
        if self._traced:
            fitting = int(self._call_s * steps / max(seconds, 1e-6))
            self._steps = max(1, min(fitting, 8 * steps))
        self._traced = True


@dataclass
class TrainingData:
    """What a model trains on.

    source: a `Source` of images, or of the features that take their place.
    rows: row numbers of the source, int32 (rows,).
    balance: of these rows, for train.balance.
    augmentation: the entries of data.augment.
    adversary: attacks images, for train.adversarial.
    teacher: gives its answers for a batch of images, if the labels do not have them yet.
    begun: whether the model begins with another run's weights.
    """

    source: Any
    rows: NDArray[Any]
    balance: Optional[Balance] = None
    augmentation: Sequence[Dict[str, Any]] = ()
    adversary: Optional[Adversary] = None
    teacher: Optional[Callable[[Any], Any]] = None
    begun: bool = False

    @property
    def rows_per_epoch(self) -> int:
        """The number of rows in an epoch."""
        return len(self.rows) if self.balance is None else self.balance.rows_per_epoch

    def rows_of(self, epoch: int) -> NDArray[Any]:
        """The rows of one epoch (from 0), not yet in the epoch's order."""
        return self.rows if self.balance is None else self.balance.rows_of(epoch)

    @property
    def class_weights(self) -> Optional[NDArray[Any]]:
        """The weight of each class in the loss, float32 (classes,); None if all weigh the same."""
        return None if self.balance is None else self.balance.class_weights


class Stepper:
    """Does training steps by number: a step depends on the seed and its number alone.

    XLA compiles the steps with train.jit on alone: it makes small convolutions 2 to 4 times slower
    on CPUs, and one call runs many steps anyway.

    Args:
        model: a compiled model whose optimizer and metrics are built.
        strategy: the tf.distribute strategy that it was built under.
        data: what it trains on.
        train: the settings of the training.
        guard: makes a context manager around each call, to say whose fault an exception is.
        whole: the model that `model` is a part of: its random layers draw as they would there.
    """

    def __init__(
        self,
        model: Any,
        strategy: Any,
        data: TrainingData,
        train: TrainSpec,
        guard: Callable[[], ContextManager[None]],
        whole: Any = None,
    ) -> None:
        self.model = model
        self.strategy = strategy
        self._together = together_of(strategy)
        self.rows = data.rows_per_epoch
        if train.steps_per_epoch is not None:
            self.rows = min(self.rows, train.steps_per_epoch * train.batch_size)
        self.epochs = train.epochs
        self._data = data
        self._source = data.source
        self._batch_size = train.batch_size
        self._seed = train.seed
        self._guard = guard
        self._full_batches, self._last_rows = divmod(self.rows, train.batch_size)
        self.steps_per_epoch = self._full_batches + bool(self._last_rows)
        self.total = self.steps_per_epoch * train.epochs
        self._rate, self.plateau = _schedule(model, train, self.steps_per_epoch)
        self.rate_scale = 1.0  # the scheduled learning rate is multiplied by this
        self._class_weights = data.class_weights
        self._pruner: Optional[Pruner] = None
        if train.prune is not None:
            self._pruner = Pruner(model, train.prune, self.total, data.begun)
        self._jit = train.jit == "on"
        self._train_step = model.train_step
        if self._jit:
            say("jit: XLA compiles the steps")
            self._train_step = tf.function(model.train_step, jit_compile=True)
        self._random_states = compat.random_states(
            model, train.seed, strategy, whole, self._together.from_replica
        )
        self._call = tf.function(self._graph)
        self._epoch = -1
        self._order: Any = None
        self._numbers: Any = None
        self._feed: Any = None
        self._next_fed_step = -1  # the step that the feed goes on with

    @property
    def first_whole_epoch(self) -> int:
        """The first epoch (from 1) whose model is as sparse as train.prune asks; 1 without it."""
        if self._pruner is None:
            return 1
        return self._pruner.last // self.steps_per_epoch + 1

    def __call__(self, first: int, most: int) -> Tuple[int, bool, float]:
        """Do up to `most` steps from step `first` (from 0), not beyond the end of the epoch.

        Returns:
            (steps done, whether they were full batches, mean loss of the epoch so far).

        Raises:
            UserCodeError: the loss is no longer a number; the message names the step.
        """
        epoch, place = divmod(first, self.steps_per_epoch)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        full = place < self._full_batches
        if full:
            count, batch_rows = min(most, self._full_batches - place), self._batch_size
        else:
            count, batch_rows = 1, self._last_rows
        # A feed goes on from call to call, but for a new epoch and for the shorter last batch.
        if first != self._next_fed_step or place == 0 or not full:
            order = self._order.numpy()
            self._feed = self._source.feed(order[place * self._batch_size :], batch_rows)
        self._next_fed_step = first + count
        number = tf.constant([first, count], tf.int64)
        scale = tf.constant(self.rate_scale, tf.float32)
        with self._guard(), self._source.blaming(), self._explaining_xla():
            bad_step, loss = self._call(
                number, scale, self._order, self._numbers, batch_rows, self._feed
            )
            bad_step, loss = int(bad_step), float(loss)
        if bad_step >= 0:
            self._diverged(bad_step, loss)
        return count, full, loss

    def _begin_epoch(self, epoch: int) -> None:
        """Lay out the epoch's order of rows, and the random numbers of its augmentation."""
        rows = self._data.rows_of(epoch)
        self._epoch = epoch
        self._order = tf.constant(epoch_order(rows, self._seed, epoch)[: self.rows])
        if self._data.augmentation:
            with tf.device("CPU:0"):
                self._numbers = tf.constant(augment.draw(self.rows, self._seed, epoch))

    @contextlib.contextmanager
    def _explaining_xla(self) -> Iterator[None]:
        """Turn what XLA cannot compile into a `SpecError`."""
        try:
            yield
        except _XLA_ERRORS as error:
            if not (self._jit and "XLA" in str(error)):
                raise
            first_line = str(error).strip().splitlines()[0][:300]
            message = "train.jit is on, but XLA cannot compile this training; expected off: {}"
            raise SpecError(message.format(first_line))

    def _diverged(self, step: int, loss: float) -> None:
        epoch, place = divmod(step, self.steps_per_epoch)
        raise UserCodeError(
            "loss became {} at epoch {} step {} (of {})".format(
                loss, epoch + 1, place + 1, self.steps_per_epoch
            ),
            "try a smaller train.optimizer.learning_rate; "
            "batch_norm, or output: logits, may help as well",
        )

    def _graph(
        self, number: Any, scale: Any, order: Any, numbers: Any, batch_rows: int, feed: Any
    ) -> Tuple[Any, Any]:
        """Steps in one graph, traced once for full batches and once for a shorter last one.

        Args:
            number: the first step's number, and how many steps, int64 (2,).
            scale: the scheduled learning rate is multiplied by this.
            order: the epoch's rows, int32 (rows,).
            numbers: what `augment.draw` gives for them, or None.
            batch_rows: the rows of each batch.
            feed: what the source reads ahead, or None.

        Returns:
            the first step whose loss is not a number, or -1; and its loss, or the last step's.
        """
        first, count = number[0], number[1]
        compat.seed_tracing(self._seed, batch_rows)
        bad_step, loss = tf.constant(-1, tf.int64), tf.constant(0.0)
        for step in tf.range(first, first + count):
            compat.set_random_states(self._random_states, step)
            if self._rate is not None:
                compat.set_learning_rate(self.model, self._rate(step) * scale)
            pruned = []
            if self._pruner is not None:
                pruned = self._pruner.pruned(step)
            with tf.device("CPU:0"):
                start = step % self.steps_per_epoch * self._batch_size
                item = self._source.pull(feed, tf.slice(order, [start], [batch_rows]))
                drawn = ()
                if numbers is not None:
                    drawn = tf.slice(numbers, [start, 0], [batch_rows, numbers.shape[1]])
            result = self.strategy.run(self._replica, args=((item, drawn), step, batch_rows))
            if self._pruner is not None:
                self._pruner.after(step, pruned)
            losses = self.strategy.experimental_local_results(result)
            step_loss = tf.add_n(losses) / self._together.here
            healthy = bad_step < 0
            loss = tf.where(healthy, step_loss, loss)
            bad_step = tf.where(healthy & ~tf.math.is_finite(step_loss), step, bad_step)
        return self._of_all_workers(bad_step, loss)

    def _of_all_workers(self, bad_step: Any, loss: Any) -> Tuple[Any, Any]:
        """The first bad step of any worker and its loss; without one, -1 and the mean loss.

        A worker's own rows tell it that its weights are ruined a step before the others see it.
        """
        if self._together.alone:
            return bad_step, loss
        own = tf.stack([tf.cast(bad_step, tf.float64), tf.cast(loss, tf.float64)])
        workers = self._together.of_each_worker(own)
        bad_steps, losses = workers[:, 0], tf.cast(workers[:, 1], tf.float32)
        ordered = tf.where(bad_steps < 0, tf.constant(np.inf, tf.float64), bad_steps)
        worst = tf.argmin(ordered)
        is_bad = bad_steps[worst] >= 0
        bad_step = tf.where(is_bad, tf.cast(bad_steps[worst], tf.int64), -1)
        return bad_step, tf.where(is_bad, losses[worst], tf.reduce_mean(losses))

    def _replica(self, batch: Any, step: Any, batch_rows: int) -> Any:
        """One step of one replica; returns the mean loss of the epoch so far."""
        item, drawn = batch
        item, share_weight = my_share(item)
        first, last, _ = my_rows(batch_rows)
        drawn = tf.nest.map_structure(lambda numbers: numbers[first:last], drawn)
        images, labels = self._source.take(item)
        numbers = self._source.class_numbers(labels)
        if self._data.augmentation:
            images = augment.augmented(images, drawn, self._data.augmentation)
        if self._data.teacher is not None:
            labels = with_answers(numbers, self._data.teacher(images))
        if self._data.adversary is not None:
            images = self._data.adversary.hardened(images, numbers, step, batch_rows)
        weights = self._row_weights(numbers, share_weight, batch_rows)
        inputs = (images, labels) if weights is None else (images, labels, weights)
        results = self._train_step(inputs)
        return tf.cast(results.get("loss", 0.0), tf.float32)

    def _row_weights(self, numbers: Any, share_weight: float, batch_rows: int) -> Any:
        """The weight of each row in the loss; None if all rows weigh 1."""
        weights = None
        if batch_rows % self.strategy.num_replicas_in_sync != 0:
            weights = tf.fill([numbers.shape[0]], share_weight)
        if self._class_weights is None:
            return weights
        class_weights = tf.gather(self._class_weights, numbers)
        return class_weights if weights is None else class_weights * weights


def _schedule(
    model: Any, train: TrainSpec, steps_per_epoch: int
) -> Tuple[Optional[Rate], Optional[Plateau]]:
    """The learning rate by step, and what lowers it on a plateau; None if not asked for."""
    scale, per_gpu = train.scale_learning_rate, train.batch_size_per_gpu
    factor = 1.0 if scale is None or per_gpu is None else scale.factor(train.batch_size // per_gpu)
    if train.schedule is None and factor == 1:
        return None, None
    base = compat.learning_rate(model)
    if base is None:
        key = "schedule" if factor == 1 else "scale_learning_rate"
        message = "train.{} is set, but the model came with its own learning-rate schedule"
        raise SpecError(message.format(key))
    schedule = train.schedule or ScheduleSpec("constant")
    rate = rate_of(schedule, base, steps_per_epoch, train.epochs)
    if scale is not None and factor != 1:
        rate = grown(rate, factor, scale.warmup_epochs * steps_per_epoch)
    plateau = Plateau(schedule, base * factor) if schedule.name == "plateau" else None
    return rate, plateau
