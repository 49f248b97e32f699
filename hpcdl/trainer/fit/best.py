"""The best epoch so far by one metric, and how long a better one is waited for."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterable, Optional

from hpcdl.contract.checks import check_monitored
from hpcdl.contract.spec import EarlyStoppingSpec, RunSpec
from hpcdl.trainer.runtime.log import say


class Best:
    """Judges each epoch by one metric.

    What it finds it keeps in the run's state, which checkpoints hold, so that a run that was interrupted
    decides as if it had not been: ``best`` ({epoch, monitor, value}, or None) and ``waited`` (epochs since).

    Args:
        early: the metric, and what counts as better.
        stops: whether training ends after ``early.patience`` epochs without a better one.
    """

    def __init__(self, early: EarlyStoppingSpec, stops: bool) -> None:
        self._early = early
        self._stops = stops
        self._sign = 1.0 if early.larger_is_better() else -1.0

    def judge(self, state: Dict[str, Any], epoch: int, metrics: Dict[str, float]) -> bool:
        """Note an epoch (from 1) in the state; returns whether it is the best so far.

        What is not a finite number is never the best.
        """
        value, best = metrics[self._early.monitor], state["best"]
        if math.isfinite(value) and (
            best is None or self._sign * (value - best["value"]) > self._early.min_delta
        ):
            state.update(
                best={"epoch": epoch, "monitor": self._early.monitor, "value": value}, waited=0
            )
            return True
        state["waited"] += 1
        return False

    def gives_up(self, state: Dict[str, Any]) -> bool:
        """Whether a better epoch was waited for long enough."""
        return self._stops and state["waited"] >= self._early.patience

    def tell(self, state: Dict[str, Any]) -> None:
        """Say in the log what training ended with."""
        best, early = state["best"], self._early
        found = (
            "best {value:.4f} at epoch {epoch}".format(**best) if best else "it never was a number"
        )
        if not state["stopped_early"]:
            say("{}: {}".format(early.monitor, found))
            return
        by = " by more than {:g}".format(early.min_delta) if early.min_delta else ""
        epochs = "{} epoch{}".format(state["waited"], "s" if state["waited"] > 1 else "")
        say(
            "stopped early: {} has not improved{} for {} ({})".format(
                early.monitor, by, epochs, found
            )
        )


def choose(run: RunSpec, metrics: Iterable[str]) -> Optional[Best]:
    """What a run judges its epochs by: early stopping's metric, else val_loss; None where it has neither.

    Args:
        metrics: the names of the model's metrics.

    Raises:
        SpecError: the model has no such metric.
    """
    names = list(metrics)
    check_monitored(run, names)
    if run.train.early_stopping is not None:
        return Best(run.train.early_stopping, stops=True)
    if run.validation_share and "loss" in names:
        return Best(EarlyStoppingSpec("val_loss"), stops=False)
    return None


def restored(run: RunSpec, state: Dict[str, Any]) -> bool:
    """Whether the best epoch's weights take the place of the last one's once training has ended."""
    early = run.train.early_stopping
    return early is not None and early.restore_best and state["best"] is not None
