"""The only training loop: steps, epochs, checkpoints and stops, for every strategy and Keras."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from hpcdl.contract.errors import Stopped
from hpcdl.trainer import compat
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.files.saver import Saver
from hpcdl.trainer.fit.best import Best
from hpcdl.trainer.fit.steps import Pace, Stepper
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.runtime.together import together_of


class Training:
    """Trains from the last checkpoint, if there is one, to the end, and saves on the way.

    On several workers, worker 0 says what depends on its clock and on files: when to stop and to
    save, and how many steps a call does. All else is a function of what is equal on all of them.

    The end is that of the last epoch, or of the one at which `best` gives up.

    ``state``, which checkpoints hold, is that of all attempts: ``step``, ``train_s`` (seconds of
    steps), ``saves``, ``save_blocked_s`` (seconds for which saving blocked training),
    ``stopped_early``, and what `best` and the schedule remember.

    Args:
        stepper: does the steps.
        run_dir: the folder of the run, for metrics and heartbeats.
        saver: saves the state.
        validate: scores the model at the end of an epoch; gives metrics by name, none without
            validation.
        best: judges the epochs; None if nothing does.
        pace: chooses the number of steps a call.
    """

    def __init__(
        self,
        stepper: Stepper,
        run_dir: RunDir,
        saver: Saver,
        validate: Callable[[], Dict[str, float]],
        best: Optional[Best] = None,
        pace: Optional[Pace] = None,
    ) -> None:
        self.state: Dict[str, Any] = {}
        self._stepper = stepper
        self._run_dir = run_dir
        self._saver = saver
        self._validate = validate
        self._best = best
        self._pace = pace or Pace()
        self._together = together_of(stepper.strategy)

    def run(self) -> Dict[str, Any]:
        """Train to the end; returns the final state.

        Raises:
            Stopped: the stop file appeared, and the state is saved; or it is `Unsaved`.
            UserCodeError: the loss is no longer a number.
        """
        saver = self._saver
        state = self.state = saver.restore()
        if self._together.first:
            self._run_dir.keep_metrics(self._epochs_done())
        try:
            while not self._over():
                stop, most, due = self._together.first_says(
                    [
                        self._run_dir.stop_requested(),
                        self._pace.steps(),
                        saver.due(state["step"]),
                    ]
                )
                if stop:
                    self._stop()
                if due:
                    saver.save(state)
                if self._between_epochs():
                    self._stepper.model.reset_metrics()
                    state["epoch_s"] = 0.0
                self._advance(int(most))
                if self._between_epochs():
                    self._end_epoch()
            saver.finish(state)
        finally:
            saver.close()
        self._run_dir.heartbeat(**saver.news())
        return state

    def _epochs_done(self) -> int:
        return int(self.state["step"] // self._stepper.steps_per_epoch)

    def _between_epochs(self) -> bool:
        return bool(self.state["step"] % self._stepper.steps_per_epoch == 0)

    def _over(self) -> bool:
        return bool(self.state["stopped_early"]) or self.state["step"] >= self._stepper.total

    def _advance(self, most: int) -> None:
        """Call the stepper: `most` steps, or less up to the next checkpoint."""
        state, stepper = self.state, self._stepper
        started = time.perf_counter()
        if stepper.plateau is not None:
            stepper.rate_scale = stepper.plateau.scale(state)
        steps, full_batches, loss = stepper(
            state["step"], self._saver.steps_left(state["step"], most)
        )
        seconds = time.perf_counter() - started
        if full_batches:
            self._pace.took(steps, seconds)
        epoch = self._epochs_done() + 1
        state["step"] += steps
        state["epoch_s"] += seconds
        state["train_s"] += seconds
        self._run_dir.heartbeat(epoch=epoch, step=state["step"], loss=loss, **self._saver.news())

    def _end_epoch(self) -> None:
        """Write the epoch's metrics, and let the schedule and `best` judge them."""
        state, stepper, best = self.state, self._stepper, self._best
        compat.average_replicas(stepper.model, self._together)
        metrics = self._write_metrics()
        if stepper.plateau is not None:
            stepper.plateau.judge(state, metrics)
        if best is None:
            return
        if best.judge(state, self._epochs_done(), metrics):
            self._saver.keep_best(state)
        state["stopped_early"] = best.gives_up(state) and state["step"] < stepper.total

    def _write_metrics(self) -> Dict[str, float]:
        """Validate, and write the epoch's line of metrics; returns the metrics by name."""
        model, stepper = self._stepper.model, self._stepper
        epoch, seconds = self._epochs_done(), self.state["epoch_s"]
        metrics = compat.metric_results(model)
        for name, value in self._validate().items():
            metrics["val_" + name] = value
        # By them the best epoch, a lower rate and an early end are chosen
        metrics = dict(zip(metrics, self._together.first_says(list(metrics.values()))))
        images_per_s = stepper.rows / seconds
        line = {
            "epoch": epoch,
            "steps": stepper.steps_per_epoch,
            "seconds": seconds,
            "images_per_s": images_per_s,
        }
        rate = compat.learning_rate(model)
        if rate is not None:
            line["learning_rate"] = rate  # of the epoch's last step
        if self._together.first:
            self._run_dir.append_metrics(dict(line, time=time.time(), **metrics))
        values = "  ".join("{} {:.4f}".format(name, value) for name, value in metrics.items())
        say(
            "epoch {}/{}  {}  {:.1f} s  {:,.0f} images/s".format(
                epoch, stepper.epochs, values, seconds, images_per_s
            )
        )
        return metrics

    def _stop(self) -> None:
        """Save the state and end."""
        self._run_dir.heartbeat(phase="saving")
        self._saver.finish(self.state)
        self._together.wait_for_all()  # who ends earlier would end worker 0 as it writes
        self._run_dir.heartbeat(phase="stopped", **self._saver.news())
        place = "step {:,} of {:,}".format(self.state["step"], self._stepper.total)
        raise Stopped(
            "stopped on request at {}; the state is saved, run me again to go on".format(place)
        )
