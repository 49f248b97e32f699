"""Reads a sweep's folder: the facts that its page and its lines in a terminal show."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpcdl.formats import MISSING
from hpcdl.report import hidden, metrics
from hpcdl.report.facts import Facts, read_text
from hpcdl.report.sent import safe
from hpcdl.run import Run, records, states
from hpcdl.run.records import Manifest, Submitted
from hpcdl.run.state import Status
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.spent import budget_of
from hpcdl.sweeps.state import SweepState, TrialState
from hpcdl.sweeps.submitted import SweepSubmitted

STATES = ("done", "pruned", "failed", "running")


@dataclass(frozen=True)
class SweepFacts:
    """One sweep's files, read once.

    Args:
        run: what a sweep has in common with a run: job, plan, manifest, frozen files.
        paths: the sweep's.
        settings: what is searched and how.
        state: the fold of the tasks' logs, with what they lack.
        submitted: where its tasks were sent; None if they were not.
    """

    run: Facts
    paths: SweepPaths
    settings: SweepSettings
    state: SweepState
    submitted: SweepSubmitted | None

    @property
    def trials(self) -> list[TrialState]:
        """All trials that somebody has claimed, by number."""
        return [self.state.trials[number] for number in sorted(self.state.trials)]

    @property
    def budget(self) -> int:
        """How many trials it is to have."""
        return budget_of(self.settings, self.submitted)

    @property
    def summary_state(self) -> str:
        """The sweep in a word, by its files.

        It has failed if all trials have ended and none of them is done.
        """
        ended = len(self.trials) - len(self.in_state("running"))
        if self.paths.cancelled.exists():
            return "cancelled"
        if ended >= self.budget:
            return "done" if self.in_state("done") else "failed"
        if ended < len(self.trials):
            return "running"
        return "stopped" if self.paths.stop.exists() else "open"

    def in_state(self, state: str) -> list[TrialState]:
        """The trials in a state, by number."""
        return [trial for trial in self.trials if trial.state == state]

    @cached_property
    def ranked(self) -> list[TrialState]:
        """The trials that have ended with a value, the best first; of equal ones the first."""
        ended = []
        for trial in self.trials:
            if trial.state in ("done", "pruned") and trial.value is not None:
                ended.append(trial)
        return sorted(ended, key=lambda trial: -self.score(trial))

    @property
    def best(self) -> list[TrialState]:
        """The trials that are done and have a value, the best first."""
        return [trial for trial in self.ranked if trial.state == "done"]

    def trial_runs(self, most: int) -> list[Run]:
        """The best trials as runs, at most that many, the best first."""
        return [Run(self.paths.trial(trial.number)) for trial in self.best[:most]]

    def score(self, trial: TrialState) -> float:
        """The value as a score, of which the higher one is better; without a value the worst."""
        score = self.settings.score(trial.value)
        return -math.inf if score is None else score

    @property
    def gpus(self) -> float:
        """The GPUs of one trial: a part of one where several trials share it."""
        if self.run.emulated:
            return 0.0
        return self.settings.gpus / self.settings.trials_per_gpu

    @cached_property
    def short_names(self) -> dict[str, str]:
        """The last words of each parameter's key, as many as tell it from the others."""
        keys = self.settings.space.names
        names = {}
        for key in keys:
            words = key.split(".")
            for count in range(1, len(words) + 1):
                ending = ".".join(words[-count:])
                others = [other for other in keys if f".{other}".endswith(f".{ending}")]
                if len(others) == 1:
                    break
            names[key] = ending
        return names

    def shown(self, key: str, value: Any, digits: int = 4) -> str:
        """A parameter's value on a page, with that many digits; hidden if it is a secret."""
        if not self.run.shows_env:
            value = hidden.setting(key, value)
        if isinstance(value, str):
            return value
        if isinstance(value, float):
            return f"{value:.{digits}g}"
        return json.dumps(value, ensure_ascii=False)

    def metric_text(self, value: float | None) -> str:
        """A value of the metric for people."""
        if value is None:
            return MISSING
        return metrics.shown(self.settings.metric, value)

    def safe(self, text: str) -> str:
        """A text without the job's secrets."""
        return safe(self.run, text)


def read(run: Run, shows_env: bool = False) -> SweepFacts:
    """Read a sweep's folder; nothing in it is changed.

    Args:
        run: the sweep, by its folder.
        shows_env: show the values of env and what else is private.

    Raises:
        RunError: its settings cannot be read.
    """
    paths = SweepPaths(run.paths.root)
    settings = SweepSettings.read(paths)
    state = whole_state(paths)
    shared = _shared(run, shows_env)
    return SweepFacts(shared, paths, settings, state, SweepSubmitted.read(paths))


def _shared(run: Run, shows_env: bool) -> Facts:
    """What a sweep has in common with a run; its state is that of its trials."""
    return Facts(
        run=run,
        status=Status(states.UNKNOWN),
        result={},
        plan=records.plan(run.paths),
        manifest=Manifest.read(run.paths),
        submitted=Submitted.read(run.paths) or Submitted(),
        lines=[],
        attempts=[],
        job_text=read_text(run.paths.job),
        shows_env=shows_env,
    )
