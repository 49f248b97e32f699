"""Whether a run has another attempt: budgets, and the rule against endless loops. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hpcdl.run import states
from hpcdl.run.causes import Outcome
from hpcdl.run.records import AttemptEvent

_LIMITS = frozenset({states.STOPPED, states.TIME_LIMIT})  # max_requeues counts these


def next_step(
    outcome: Outcome,
    ends: Sequence[AttemptEvent],
    max_requeues: int,
    jobs_left: int | None = None,
) -> Outcome:
    """What an attempt's outcome means for the run.

    Args:
        outcome: of the last attempt.
        ends: the ends of all attempts so far, the last included.
        max_requeues: how many may end at the time limit; preemptions and kills do not count.
        jobs_left: where jobs are not requeued, how many of the chain are still to come.

    Returns:
        The outcome itself, or a failure if there must be no other attempt.
    """
    if outcome.state not in states.AGAIN:
        return outcome
    stuck = hopeless(ends)
    if stuck is not None:
        message = "; ".join(filter(None, (outcome.message, stuck.message)))
        return Outcome(states.FAILED, outcome.cause or stuck.cause, message)
    if [end.reason for end in ends][-2:] == [states.STALLED] * 2:
        message = f"two attempts in a row: {outcome.message}"
        return Outcome(states.FAILED, outcome.cause or states.STALL, message)
    is_limit = outcome.state in _LIMITS
    cause = outcome.cause or "internal"
    if is_limit:
        cause = states.TIME_LIMIT
    reason = outcome.state.replace("_", " ")
    why = outcome.message or f"it was stopped ({reason}) with its state saved"
    if jobs_left == 0:
        message = f"{why}; it was the last job of the chain, hpcdl resume goes on with it"
        return Outcome(states.FAILED, cause, message)
    if max_requeues == 0 and jobs_left is None:
        message = f"{why}; jobs are not requeued here, hpcdl resume goes on with it"
        return Outcome(states.FAILED, cause, message)
    stops = sum(end.reason in _LIMITS for end in ends)
    if is_limit and stops > max_requeues:
        message = f"stopped {stops} times, and max_requeues is {max_requeues}"
        return Outcome(states.FAILED, states.TIME_LIMIT, message)
    return outcome


def hopeless(ends: Sequence[AttemptEvent]) -> Outcome | None:
    """A failure if two attempts in a row made no new step or could not even start; else None.

    A third attempt would do no better. With a frozen backbone, features of more images count as
    a step: the run computes them before its first one.

    Args:
        ends: the ends of all attempts so far.
    """
    last_two = list(ends)[-2:]
    if len(last_two) < 2 or any(end.reason not in states.AGAIN for end in last_two):
        return None
    if all(end.reason == states.UNFIT for end in last_two):
        nodes = ", ".join(str(end.node) for end in last_two)
        message = f"two attempts in a row found their node not fit ({nodes})"
        return Outcome(states.FAILED, states.NODE_FAILURE, message)
    if any(_made_progress(end) for end in last_two):
        return None
    last = last_two[-1]
    cause = states.TIME_LIMIT if last.reason in _LIMITS else "internal"
    message = f"two attempts in a row made no new step (step {last.steps})"
    return Outcome(states.FAILED, cause, message)


def _made_progress(end: AttemptEvent) -> bool:
    """Whether an attempt made a step or saved features; of a script nobody knows."""
    if end.steps is None or end.steps > (end.from_step or 0):
        return True
    return (end.images or 0) > (end.from_images or 0)
