"""Evidence -> cause: why a run ended as it did. Pure; status and launch both use it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from hpcdl.trainer import spec

DONE = "done"
STOPPED = "stopped"
TERMINATED = "terminated"
FAILED = "failed"

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


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: done, stopped (run it again), terminated (SLURM knows why), or failed and its cause."""

    state: str
    cause: str | None = None
    message: str | None = None


def of_exit_status(status: int, script: bool, in_slurm: bool) -> Outcome:
    """What an exit status of the program means.

    Args:
        status: the exit status; -N or 128 + N where signal N ended it.
        script: whether it was the user's own script, whose other statuses are its own business.
        in_slurm: whether SLURM may have ended it: it sends SIGTERM to every process of a job that is
            cancelled, preempted or out of time, and only it knows which.
    """
    if status == spec.EXIT_DONE:
        return Outcome(DONE)
    if status == spec.EXIT_STOPPED:
        return Outcome(STOPPED)
    number = -status if status < 0 else status - 128
    if number == signal.SIGTERM and in_slurm:
        return Outcome(TERMINATED)
    if number == signal.SIGKILL:
        return Outcome(FAILED, "out_of_memory", "killed (SIGKILL); most often the job ran out of memory")
    if 0 < number < 65:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return Outcome(FAILED, "user_code" if script else "internal", f"ended by {name}")
    cause = "user_code" if script else _TRAINER.get(status, "internal")
    return Outcome(FAILED, cause, f"the program ended with exit status {status}")


def of_slurm_state(state: str) -> Outcome | None:
    """What SLURM's word for an ended job means for a run whose own files say nothing; None while it has not ended."""
    if state in _SLURM:
        return Outcome("cancelled" if _SLURM[state] == "cancelled" else FAILED, _SLURM[state], f"SLURM says {state}")
    if state == "FAILED":
        return Outcome(FAILED, "internal", "the batch script failed before the program started")
    if state == "COMPLETED":
        return Outcome("lost", None, "SLURM says COMPLETED, but the run left no result")
    return None
