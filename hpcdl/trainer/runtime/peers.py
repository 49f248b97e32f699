"""Tells a fault of this worker from the end of another one. Without TensorFlow's import."""

from __future__ import annotations

from typing import Optional

from hpcdl.contract.errors import PeerLost

# TensorFlow's words when another worker has ended, or does not answer any more
_ERRORS = (
    "UnavailableError",
    "AbortedError",
    "DeadlineExceededError",
    "CancelledError",
    "InternalError",
    "UnknownError",
)
_WORDS = (
    "Collective ops is aborted",
    "CoordinationService",
    "coordination service",
    "heartbeat timeout",
    "stopped sending heartbeats",
    "Connection reset by peer",
    "Socket closed",
    "failed to connect to all addresses",
)


def peer_lost(error: BaseException) -> Optional[PeerLost]:
    """The error of a lost worker, if TensorFlow's error says that; None of any other one."""
    if isinstance(error, PeerLost):
        return error
    if type(error).__name__ not in _ERRORS:
        return None
    for line in str(error).splitlines():
        if any(word in line for word in _WORDS):
            return PeerLost(
                "another worker of this run has ended, or does not answer: {}".format(
                    line.strip()[:300]
                ),
                "the cause is in the log of the worker that ended first",
            )
    return None
