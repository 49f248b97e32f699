"""Looks at a trial's metrics while it trains: notes its rungs, stops it if others did better."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hpcdl.files import write_json
from hpcdl.launch.processes import kill_tree
from hpcdl.launch.retry import keep_trying, say
from hpcdl.planning import Plan, Script
from hpcdl.run import states
from hpcdl.run.paths import RunPaths
from hpcdl.sweeps.claims import Claims
from hpcdl.sweeps.objective import is_finite, metric_rows
from hpcdl.sweeps.pruning import asha_prunes, bracket_of, brackets, rungs
from hpcdl.sweeps.settings import SweepSettings

SCRIPT_WAIT_S = 30.0  # a script that does not look for the stop file is killed after this time


class Pruner:
    """A watcher that ends a trial early: it is worse than the others, or reports no metric.

    Args:
        settings: the sweep's.
        claims: the task's hold on its trials, which reads and writes the rungs.
        number: the trial's.
        paths: the trial's.
        plan: the sweep's.
    """

    def __init__(
        self, settings: SweepSettings, claims: Claims, number: int, paths: RunPaths, plan: Plan
    ) -> None:
        self._settings = settings
        self._claims = claims
        self._number = number
        self._paths = paths
        self._is_script = isinstance(plan.program, Script)
        self._bracket = 0
        self._rungs = self._own_rungs()
        self._size = -1
        self._asked_at: float | None = None

    def look(self, now: float, pid: int) -> None:
        """Read new lines of metrics.jsonl, and ask the trial to stop if it is to be pruned."""
        if self._asked_at is not None:
            if self._is_script and now - self._asked_at > SCRIPT_WAIT_S:
                kill_tree(pid)
            return
        with suppress(OSError):  # a disk that is full or away: the next look tries again
            reason = self._why_stop()
            if reason is not None:
                self._ask_to_stop(reason, now)

    def note_rungs(self) -> None:
        """Note all rungs that the trial has reached: one that is quick ends between two looks.

        Raises:
            OSError: they cannot be read or written.
        """
        rows = metric_rows(self._paths)
        for rung in self._rungs:
            value = self._value_at(rows, rung)
            if value is not None:
                self._claims.note_rung(self._number, rung, value)

    def _own_rungs(self) -> list[int]:
        settings = self._settings
        if settings.method not in ("asha", "hyperband") or settings.epochs is None:
            return []
        if settings.method == "asha":
            return rungs(settings.first_epochs, settings.epochs, settings.eta)
        shares = brackets(settings.first_epochs, settings.epochs, settings.eta)
        self._bracket = bracket_of(self._number, shares)
        return rungs(shares[self._bracket].first, settings.epochs, settings.eta)

    def _why_stop(self) -> dict[str, Any] | None:
        """Why the trial must stop; None while it may go on."""
        size = self._paths.metrics.stat().st_size
        if size == self._size:
            return None
        rows = metric_rows(self._paths)
        self._size = size
        if not self._is_script and rows and self._settings.metric not in rows[0]:
            return {"reason": states.NO_METRIC}
        for rung in self._rungs:
            value = self._value_at(rows, rung)
            if value is None:
                continue
            if self._is_pruned_at(rung, value):
                return {"reason": states.PRUNED, "rung": rung}
        return None

    def _value_at(self, rows: Any, rung: int) -> float | None:
        """The metric at a rung: NaN if it is not a number, None if the trial is not there yet."""
        for row in rows:
            if row.get("epoch") == rung and self._settings.metric in row:
                value = row[self._settings.metric]
                return float(value) if is_finite(value) else float("nan")
        return None

    def _is_pruned_at(self, rung: int, value: float) -> bool:
        """Note the rung, and compare the trial with the others that have reached it."""
        self._claims.note_rung(self._number, rung, value)
        score = self._settings.score(value) or 0.0
        others = []
        for number, other in self._claims.state.rungs.get(rung, {}).items():
            if number != self._number and self._is_rival(number):
                other_score = self._settings.score(other)
                others.append(float("-inf") if other_score is None else other_score)
        return asha_prunes(score, others, self._settings.eta)

    def _is_rival(self, number: int) -> bool:
        """Whether another trial is compared with this one: in Hyperband, one of its bracket."""
        if self._settings.method != "hyperband" or self._settings.epochs is None:
            return True
        settings = self._settings
        shares = brackets(settings.first_epochs, self._settings.epochs, settings.eta)
        return bracket_of(number, shares) == self._bracket

    def _ask_to_stop(self, reason: dict[str, Any], now: float) -> None:
        say(f"trial {self._number}: asked to stop: {reason}")
        keep_trying("the stop file", lambda: write_json(self._paths.stop, reason), self._paths)
        self._asked_at = now
