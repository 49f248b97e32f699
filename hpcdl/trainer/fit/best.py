"""The best epoch so far by one metric, and the patience of early stopping."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterable, Optional

from hpcdl.contract.checks import check_monitored
from hpcdl.contract.spec import EarlyStoppingSpec, RunSpec
from hpcdl.trainer.runtime.log import say


class Best:
    """Judges each epoch by one metric.

    Its memory is in the run's state, which checkpoints hold: ``best`` ({epoch, monitor, value}, or
    None) and ``waited`` (epochs since). So an interrupted run decides as if it had not been.

    Args:
        early: the metric, and what counts as better.
        stops: whether training ends after ``early.patience`` epochs without a better one.
        first_epoch: the first epoch (from 1) that counts: a model that is still pruned is not as
            small as it must be.
    """

    def __init__(self, early: EarlyStoppingSpec, stops: bool, first_epoch: int = 1) -> None:
        self._first_epoch = first_epoch
        self._early = early
        self._stops = stops
        self._sign = 1.0 if early.larger_is_better() else -1.0

    def judge(self, state: Dict[str, Any], epoch: int, metrics: Dict[str, float]) -> bool:
        """Note an epoch (from 1) in the state; returns whether it is the best so far.

        A value that is not a finite number is never the best.
        """
        if epoch < self._first_epoch:
            return False
        monitor = self._early.monitor
        value = metrics[monitor]
        if not self._is_better(value, state["best"]):
            state["waited"] += 1
            return False
        state["best"] = {"epoch": epoch, "monitor": monitor, "value": value}
        state["waited"] = 0
        return True

    def _is_better(self, value: float, best: Optional[Dict[str, Any]]) -> bool:
        if not math.isfinite(value):
            return False
        return best is None or self._sign * (value - best["value"]) > self._early.min_delta

    def gives_up(self, state: Dict[str, Any]) -> bool:
        """Whether patience is at its end."""
        return self._stops and state["waited"] >= self._early.patience

    def tell(self, state: Dict[str, Any]) -> None:
        """Write to the log what training ended with."""
        early = self._early
        best = "it never was a number"
        if state["best"]:
            best = "best {value:.4f} at epoch {epoch}".format(**state["best"])
        if not state["stopped_early"]:
            say("{}: {}".format(early.monitor, best))
            return
        by = " by more than {:g}".format(early.min_delta) if early.min_delta else ""
        epochs = "{} epoch{}".format(state["waited"], "s" if state["waited"] > 1 else "")
        message = "stopped early: {} has not improved{} for {} ({})"
        say(message.format(early.monitor, by, epochs, best))


def choose_best(run: RunSpec, metrics: Iterable[str], first_epoch: int = 1) -> Optional[Best]:
    """What a run judges its epochs by: early stopping's metric, else val_loss; None without both.

    Args:
        run: the checked spec.
        metrics: the names of the model's metrics.
        first_epoch: the first epoch (from 1) that counts.

    Raises:
        SpecError: the model does not have the metric of early stopping.
    """
    names = list(metrics)
    check_monitored(run, names)
    if run.train.early_stopping is not None:
        return Best(run.train.early_stopping, stops=True, first_epoch=first_epoch)
    if run.validation_share and "loss" in names:
        return Best(EarlyStoppingSpec("val_loss"), stops=False, first_epoch=first_epoch)
    return None


def restored(run: RunSpec, state: Dict[str, Any]) -> bool:
    """Whether the model gets the weights of the best epoch when training has ended."""
    early = run.train.early_stopping
    return early is not None and early.restore_best and state["best"] is not None
