"""The only training loop: the model's train_step, many steps a call, for every strategy and Keras."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable, ContextManager, Dict, Iterator, Optional, Sequence, Tuple

import tensorflow as tf

from hpcdl.contract.errors import Stopped, UserCodeError
from hpcdl.contract.spec import SpecError, TrainSpec
from hpcdl.trainer import compat
from hpcdl.trainer.dataset import augment
from hpcdl.trainer.dataset.balance import Balance
from hpcdl.trainer.dataset.load import epoch_order
from hpcdl.trainer.dataset.source import Source, my_share
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.files.saver import Saver
from hpcdl.trainer.fit.best import Best
from hpcdl.trainer.fit.schedule import Plateau, Rate, rate_of
from hpcdl.trainer.runtime.log import say


class Pace:
    """How many steps the next call does, to last about `call_s` seconds. No result depends on it."""

    def __init__(self, call_s: float = 1.0) -> None:
        self._call_s = call_s
        self._steps = 1
        self._traced = False

    def steps(self) -> int:
        """The number of steps to do now."""
        return self._steps

    def took(self, steps: int, seconds: float) -> None:
        """Learn from a call. The first one says nothing: it traced the graph."""
        if self._traced:
            fitting = int(self._call_s * steps / max(seconds, 1e-6))
            self._steps = max(1, min(fitting, 8 * steps))
        self._traced = True


class Stepper:
    """Does training steps by number: what a step does is a function of the seed and its number alone.

    Args:
        model: a compiled model whose optimizer and metrics are built.
        strategy: the tf.distribute strategy that it was built under.
        rows: row numbers to train on, int32 (rows,).
        guard: makes a context manager around each call, to say whose fault an exception is.
        augmentation: the entries of data.augment.
        balance: of these rows, where train.balance asks for it.
        whole: the model that `model` is a part of: its random layers draw as they would there.

    XLA compiles the steps with train.jit on alone: it makes small convolutions 2 to 4 times slower on CPUs, and
    this loop runs many steps in one call anyway.
    """

    def __init__(
        self,
        model: Any,
        strategy: Any,
        source: Source,
        rows: Any,
        train: TrainSpec,
        guard: Callable[[], ContextManager[None]],
        augmentation: Sequence[Dict[str, Any]] = (),
        balance: Optional[Balance] = None,
        whole: Any = None,
    ) -> None:
        self._model = model
        self.strategy = strategy
        self._source = source
        self._rows, self._balance, self._augmentation = rows, balance, augmentation
        self._batch_size, self._seed = train.batch_size, train.seed
        self._guard = guard
        self.rows, self.epochs = (
            len(rows) if balance is None else balance.rows_per_epoch,
            train.epochs,
        )
        self._full_batches, self._last_rows = divmod(self.rows, train.batch_size)
        self.steps_per_epoch = self._full_batches + bool(self._last_rows)
        self.total = self.steps_per_epoch * train.epochs
        self._rate, self.plateau = _schedule(model, train, self.steps_per_epoch)
        self.rate_scale = 1.0  # what the scheduled learning rate is multiplied by
        self._class_weights = None if balance is None else balance.class_weights
        self._jit = train.jit == "on"
        if self._jit:
            say("jit: XLA compiles the steps")
        self._train_step = (
            tf.function(model.train_step, jit_compile=True) if self._jit else model.train_step
        )
        self._random_states = compat.random_states(model, train.seed, strategy, whole)
        self._call = tf.function(self._graph)
        self._epoch = -1
        self._order: Any = None
        self._numbers: Any = None
        self._feed: Any = None
        self._fed_up_to = -1  # the step that the feed goes on with

    def __call__(self, first: int, wanted: int) -> Tuple[int, bool, float]:
        """Do up to `wanted` steps from step number `first` (from 0), not beyond the end of the epoch.

        Returns:
            (steps done, whether they were full batches, mean loss of the epoch so far).

        Raises:
            UserCodeError: when the loss is no longer a number, naming the step at which it happened.
        """
        epoch, place = divmod(first, self.steps_per_epoch)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        full = place < self._full_batches
        count = min(wanted, self._full_batches - place) if full else 1
        batch_rows = self._batch_size if full else self._last_rows
        if first != self._fed_up_to or not (full and place):
            self._feed = self._source.feed(
                self._order.numpy()[place * self._batch_size :], batch_rows
            )
        self._fed_up_to = first + count
        number, scale = (
            tf.constant([first, count], tf.int64),
            tf.constant(self.rate_scale, tf.float32),
        )
        with self._guard(), self._source.blaming(), self._compiling():
            bad_step, loss = self._call(
                number, scale, self._order, self._numbers, batch_rows, self._feed
            )
            bad_step, loss = int(bad_step), float(loss)
        if bad_step >= 0:
            self._diverged(bad_step, loss)
        return count, full, loss

    def _begin_epoch(self, epoch: int) -> None:
        """Lay out the epoch's order of rows, and the random numbers of its augmentation."""
        rows = self._rows if self._balance is None else self._balance.rows_of(epoch)
        self._epoch, self._order = epoch, tf.constant(epoch_order(rows, self._seed, epoch))
        if self._augmentation:
            with tf.device("CPU:0"):
                self._numbers = tf.constant(augment.draw(self.rows, self._seed, epoch))

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Say what XLA cannot do in words."""
        try:
            yield
        except (
            tf.errors.InvalidArgumentError,
            tf.errors.UnimplementedError,
            NotImplementedError,
        ) as error:
            if not (self._jit and "XLA" in str(error)):
                raise
            first = str(error).strip().splitlines()[0][:300]
            raise SpecError(
                "train.jit is on, but XLA cannot compile this training; expected off: {}".format(
                    first
                )
            )

    def _diverged(self, step: int, loss: float) -> None:
        epoch, place = divmod(step, self.steps_per_epoch)
        raise UserCodeError(
            "loss became {} at epoch {} step {} (of {})".format(
                loss, epoch + 1, place + 1, self.steps_per_epoch
            ),
            "try a smaller train.optimizer.learning_rate; batch_norm, or output: logits, may help as well",
        )

    def _graph(
        self, number: Any, scale: Any, order: Any, numbers: Any, batch_rows: int, feed: Any
    ) -> Tuple[Any, Any]:
        """Steps in one graph, traced once for full batches and once for a shorter last one.

        Args:
            number: the first step's number, and how many they are.
            scale: what the scheduled learning rate is multiplied by.
            order: the epoch's rows.
            numbers: what `augment.draw` gives for them, or None.
        """
        first, count = number[0], number[1]
        compat.seed_tracing(self._seed, batch_rows)
        bad_step, loss = tf.constant(-1, tf.int64), tf.constant(0.0)
        for step in tf.range(first, first + count):
            compat.set_random_states(self._random_states, step)
            if self._rate is not None:
                compat.set_learning_rate(self._model, self._rate(step) * scale)
            with tf.device("CPU:0"):
                start = step % self.steps_per_epoch * self._batch_size
                item = self._source.pull(feed, tf.slice(order, [start], [batch_rows]))
                drawn = (
                    ()
                    if numbers is None
                    else tf.slice(numbers, [start, 0], [batch_rows, numbers.shape[1]])
                )
            result = self.strategy.run(self._replica, args=((item, drawn), batch_rows))
            now = (
                tf.add_n(self.strategy.experimental_local_results(result))
                / self.strategy.num_replicas_in_sync
            )
            healthy = bad_step < 0
            loss = tf.where(healthy, now, loss)
            bad_step = tf.where(healthy & ~tf.math.is_finite(now), step, bad_step)
        return bad_step, loss

    def _replica(self, batch: Any, batch_rows: int) -> Any:
        """One step of one replica; returns the epoch's mean loss so far, which shows the first bad one."""
        (item, drawn), weight = my_share(batch)
        images, labels = self._source.take(item)
        if self._augmentation:
            images = augment.augmented(images, drawn, self._augmentation)
        weights = (
            None
            if batch_rows % self.strategy.num_replicas_in_sync == 0
            else tf.fill([labels.shape[0]], weight)
        )
        if self._class_weights is not None:
            of_class = tf.gather(self._class_weights, self._source.class_numbers(labels))
            weights = of_class if weights is None else of_class * weights
        results = self._train_step(
            (images, labels) if weights is None else (images, labels, weights)
        )
        return tf.cast(results.get("loss", 0.0), tf.float32)


def _schedule(
    model: Any, train: TrainSpec, steps_per_epoch: int
) -> Tuple[Optional[Rate], Optional[Plateau]]:
    if train.schedule is None:
        return None, None
    base = compat.learning_rate(model)
    if base is None:
        raise SpecError(
            "train.schedule is set, but the model came with a learning-rate schedule of its own"
        )
    plateau = Plateau(train.schedule, base) if train.schedule.name == "plateau" else None
    return rate_of(train.schedule, base, steps_per_epoch, train.epochs), plateau


def train(
    stepper: Stepper,
    model: Any,
    run_dir: RunDir,
    saver: Saver,
    validate: Callable[[], Dict[str, float]],
    pace: Pace,
    best: Optional[Best],
) -> Dict[str, Any]:
    """Train from the last checkpoint, if there is one, to the end, saving on the way and there.

    The end is that of the last epoch, or of the one at which `best` gives up.

    Args:
        validate: scores the model at the end of an epoch: metrics by name, empty without validation.
        best: judges the epochs, if anything does.

    Returns:
        the final state, of all attempts: ``step``, ``train_s`` (seconds of steps), ``saves``,
        ``save_blocked_s`` (seconds for which saving kept training waiting), ``stopped_early``, and
        what `best` found.

    Raises:
        Stopped: the stop file appeared, and the state is saved; or it is `Unsaved`.
        UserCodeError: the loss is no longer a number.
    """
    state = saver.restore()
    run_dir.keep_metrics(state["step"] // stepper.steps_per_epoch)
    try:
        while not _over(state, stepper):
            if run_dir.stop_requested():
                _stop(state, stepper, run_dir, saver)
            if state["step"] % stepper.steps_per_epoch == 0:
                model.reset_metrics()
                state["epoch_s"] = 0.0
            _advance(stepper, pace, state, run_dir, saver)
            if state["step"] % stepper.steps_per_epoch == 0:
                compat.average_replicas(model, stepper.strategy)
                metrics = _finish_epoch(stepper, model, state, run_dir, validate)
                if stepper.plateau is not None:
                    stepper.plateau.judge(state, metrics)
                if best is not None:
                    _judge(best, metrics, state, stepper, saver)
            if saver.due(state["step"]) and not _over(state, stepper):
                saver.save(state)
        saver.finish(state)
    finally:
        saver.close()
    run_dir.heartbeat(**saver.news())
    return state


def _over(state: Dict[str, Any], stepper: Stepper) -> bool:
    return bool(state["stopped_early"]) or state["step"] >= stepper.total


def _judge(
    best: Best, metrics: Dict[str, float], state: Dict[str, Any], stepper: Stepper, saver: Saver
) -> None:
    if best.judge(state, state["step"] // stepper.steps_per_epoch, metrics):
        saver.keep_best(state)
    state["stopped_early"] = best.gives_up(state) and state["step"] < stepper.total


def _advance(
    stepper: Stepper, pace: Pace, state: Dict[str, Any], run_dir: RunDir, saver: Saver
) -> None:
    """One call of the stepper: about a second of training, or less up to the next checkpoint."""
    started = time.perf_counter()
    if stepper.plateau is not None:
        stepper.rate_scale = stepper.plateau.scale(state)
    done, full, loss = stepper(state["step"], saver.steps_left(state["step"], pace.steps()))
    seconds = time.perf_counter() - started
    if full:
        pace.took(done, seconds)
    epoch = state["step"] // stepper.steps_per_epoch + 1
    state["step"] += done
    state["epoch_s"] += seconds
    state["train_s"] += seconds
    run_dir.heartbeat(epoch=epoch, step=state["step"], loss=loss, **saver.news())


def _finish_epoch(
    stepper: Stepper,
    model: Any,
    state: Dict[str, Any],
    run_dir: RunDir,
    validate: Callable[[], Dict[str, float]],
) -> Dict[str, float]:
    """Write the epoch's line of metrics; returns the metrics by name."""
    epoch, seconds = state["step"] // stepper.steps_per_epoch, state["epoch_s"]
    metrics = compat.metric_results(model)
    metrics.update({"val_" + name: value for name, value in validate().items()})
    speed = stepper.rows / seconds
    line = {
        "epoch": epoch,
        "steps": stepper.steps_per_epoch,
        "seconds": seconds,
        "images_per_s": speed,
    }
    rate = compat.learning_rate(model)
    if rate is not None:
        line["learning_rate"] = rate  # of the epoch's last step
    run_dir.append_metrics(dict(line, time=time.time(), **metrics))
    shown = "  ".join("{} {:.4f}".format(name, value) for name, value in metrics.items())
    say(
        "epoch {}/{}  {}  {:.1f} s  {:,.0f} images/s".format(
            epoch, stepper.epochs, shown, seconds, speed
        )
    )
    return metrics


def _stop(state: Dict[str, Any], stepper: Stepper, run_dir: RunDir, saver: Saver) -> None:
    run_dir.heartbeat(phase="saving")
    saver.finish(state)
    run_dir.heartbeat(phase="stopped", **saver.news())
    where = "step {:,} of {:,}".format(state["step"], stepper.total)
    raise Stopped(
        "stopped on request at {}; the state is saved, run me again to go on".format(where)
    )
