"""What a sweep has occupied so far, by its tasks' logs: each trial counts as an attempt of it."""

from __future__ import annotations

from dataclasses import dataclass

from hpcdl.run import records, states
from hpcdl.run.usage import Turn, Usage, request_of
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.spent import budget_of
from hpcdl.sweeps.state import SweepState, TrialState
from hpcdl.sweeps.submitted import SweepSubmitted


@dataclass(frozen=True)
class SweepUsage:
    """What a sweep has occupied, and how far it is.

    Args:
        usage: of all trials.
        settings: the sweep's.
        submitted: where its tasks were sent; None if they were not.
        ended: how many trials have ended.
        trials: how many there are to be.
        is_cancelled: whether its user has ended it.
    """

    usage: Usage
    settings: SweepSettings
    submitted: SweepSubmitted | None
    ended: int
    trials: int
    is_cancelled: bool

    @property
    def is_over(self) -> bool:
        """Whether no trial is left."""
        return self.is_cancelled or self.ended >= self.trials

    @property
    def state(self) -> str:
        """How far it is, in a word or two."""
        if self.is_cancelled:
            return states.CANCELLED
        return f"{self.ended} of {self.trials}"


def sweep_usage(paths: SweepPaths, now: float) -> SweepUsage:
    """Read what a sweep has occupied.

    Args:
        paths: the sweep's.
        now: the present time (unix time).

    Raises:
        RunError: its folder is damaged.
        OSError: it cannot be read.
    """
    settings = SweepSettings.read(paths)
    submitted = SweepSubmitted.read(paths)
    state = SweepState.load_index(paths)
    state.refresh(paths)
    request = request_of(records.plan(paths.run))
    turns = [_turn(trial, now, request.time_limit_s) for trial in state.trials.values()]
    usage = Usage(
        request=request,
        turns=turns,
        queue_s=None,
        job_ids=[] if submitted is None else submitted.job_ids,
        sent=0.0 if submitted is None else submitted.time,
        is_local=submitted is not None and submitted.backend == "local",
        share=1 / settings.trials_per_gpu,
    )
    trials = budget_of(settings, submitted)
    ended = sum(turn.reason is not None for turn in turns)
    return SweepUsage(usage, settings, submitted, ended, trials, paths.cancelled.exists())


def _turn(trial: TrialState, now: float, time_limit_s: int) -> Turn:
    """A trial that its task's log leaves open counts until now, or for its task's whole time."""
    if trial.state == "running":
        began = trial.claimed_at or now
        seconds = min(max(0.0, now - began), float(time_limit_s or now))
        return Turn(trial.number, started=began, seconds=seconds)
    return Turn(trial.number, seconds=trial.seconds, reason=trial.state)
