"""A training that is held back, so that a test finds it under way. It changes no result."""

from __future__ import annotations

import os
import time
from typing import Optional

from hpcdl.contract.probe import PACE
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.fit.steps import Pace

_LOOK_S = 0.1


class HeldBack(Pace):
    """One step a call, which takes a while, until somebody asks the training to stop.

    Args:
        run_dir: the run, whose stop file ends the wait.
        step_s: seconds that a step takes at least.
    """

    def __init__(self, run_dir: RunDir, step_s: float) -> None:
        super().__init__(call_s=0.0)
        self._run_dir = run_dir
        self._step_s = step_s

    def took(self, steps: int, seconds: float) -> None:
        """Wait until the steps have taken their time."""
        until = time.monotonic() + steps * self._step_s - seconds
        while time.monotonic() < until and not self._run_dir.stop_requested():
            time.sleep(_LOOK_S)


def pace_of(run_dir: RunDir) -> Optional[Pace]:
    """The pace that the environment asks for in a run's first attempt; None for the usual one."""
    step_s = os.environ.get(PACE)
    if step_s is None or run_dir.attempt > 1:
        return None
    return HeldBack(run_dir, float(step_s))
