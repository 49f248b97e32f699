"""Evidence -> cause: why an attempt ended, and whether there is another. Pure; status and launch both use it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.trainer import spec

DONE = "done"
FAILED = "failed"
STOPPED = "stopped"  # saved and stopped on somebody's request
TIME_LIMIT = "time_limit"  # likewise, because the time limit was near
PREEMPTED = "preempted"  # likewise, because SLURM wanted the node
KILLED = "killed"  # by a signal: the run goes on from its last checkpoint
TERMINATED = "terminated"  # by SLURM, which knows why
AGAIN = frozenset({STOPPED, TIME_LIMIT, PREEMPTED, KILLED})

_TRAINER = {
    spec.EXIT_USER_CODE: "user_code",
    spec.EXIT_SPEC: "spec",
    spec.EXIT_DATA: "data",
    spec.EXIT_DEVICES: "device",
    spec.EXIT_INTERNAL: "internal",
}
_SLURM = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
}
# What a program says when the process that serves its image's files was killed (ENOTCONN from FUSE)
_IMAGE_GONE = "Transport endpoint is not connected"


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, in one of the words above, and for a failure its cause."""

    state: str
    cause: str | None = None
    message: str | None = None


def of_exit_status(status: int, script: bool, in_slurm: bool, log: str = "") -> Outcome:
    """What an exit status of the program means.

    Args:
        status: the exit status; -N or 128 + N where signal N ended it.
        script: whether it was the user's own script, whose other statuses are its own business.
        in_slurm: whether SLURM may have ended it: it sends SIGTERM to every process of a job that is
            cancelled, preempted or out of time, and only it knows which.
        log: the end of the program's log.
    """
    if status == spec.EXIT_DONE:
        return Outcome(DONE)
    if status == spec.EXIT_STOPPED:
        return Outcome(STOPPED)
    number = -status if status < 0 else status - 128
    if number == signal.SIGTERM and in_slurm:
        return Outcome(TERMINATED)
    if 0 < number < 65:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        cause, message = ("user_code" if script else "internal"), f"ended by {name}"
        if number == signal.SIGKILL:
            cause, message = "out_of_memory", "killed (SIGKILL); most often the job ran out of memory"
        return Outcome(FAILED if script else KILLED, cause, message)
    if not script and _IMAGE_GONE in log:
        return Outcome(KILLED, "internal", "the image's files went away (its squashfuse was killed)")
    cause = "user_code" if script else _TRAINER.get(status, "internal")
    return Outcome(FAILED, cause, f"the program ended with exit status {status}")


def next_step(outcome: Outcome, ends: Sequence[dict[str, Any]], max_requeues: int) -> Outcome:
    """What an attempt's outcome means for the run, after all that went before.

    Args:
        outcome: of the last attempt.
        ends: the ends of all attempts so far, the last included.
        max_requeues: how many may end at the time limit; preemptions and kills do not count.

    Returns:
        The outcome itself, or a failure where there is to be no other attempt.
    """
    if outcome.state not in AGAIN:
        return outcome
    if max_requeues == 0:
        cause = "time_limit" if outcome.state == TIME_LIMIT else outcome.cause or "internal"
        why = outcome.message or f"it was stopped ({outcome.state.replace('_', ' ')}) with its state saved"
        return Outcome(FAILED, cause, f"{why}; jobs are not requeued here, hpcdl resume goes on with it")
    stuck = hopeless(ends)
    if stuck is not None:
        return Outcome(FAILED, outcome.cause or stuck.cause, "; ".join(filter(None, (outcome.message, stuck.message))))
    stops = sum(end["reason"] in (STOPPED, TIME_LIMIT) for end in ends)
    if outcome.state in (STOPPED, TIME_LIMIT) and stops > max_requeues:
        return Outcome(FAILED, "time_limit", f"stopped {stops} times, and max_requeues is {max_requeues}")
    return outcome


def hopeless(ends: Sequence[dict[str, Any]]) -> Outcome | None:
    """A failure where two attempts in a row brought not one new step: a third would not either."""
    last = [end for end in ends if end["reason"] in AGAIN][-2:]
    if len(last) < 2 or last != list(ends)[-2:]:
        return None
    if any(end.get("steps") is None or end["steps"] > (end.get("from_step") or 0) for end in last):
        return None
    cause = "time_limit" if last[-1]["reason"] in (STOPPED, TIME_LIMIT) else "internal"
    return Outcome(FAILED, cause, f"two attempts in a row made no new step (step {last[-1]['steps']})")


def of_slurm_state(state: str) -> Outcome | None:
    """What SLURM's word for an ended job means for a run whose own files say nothing; None while it has not ended."""
    if state in _SLURM:
        return Outcome("cancelled" if _SLURM[state] == "cancelled" else FAILED, _SLURM[state], f"SLURM says {state}")
    if state == "FAILED":
        return Outcome(FAILED, "internal", "the batch script failed before the program started")
    if state == "COMPLETED":
        return Outcome("lost", None, "SLURM says COMPLETED, but the run left no result")
    return None
