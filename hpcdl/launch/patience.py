"""Reading and writing the run folder while its file system is full, over quota, read-only or away: try again first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

RETRY_S = 300.0  # HPCDL_SAVE_RETRY_S takes its place, for tests; the trainer's own saving reads it too
_LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


class OutOfPatienceError(Exception):
    """The file system did not recover in time; what was on disk before is untouched."""


def say(text: str) -> None:
    """Write a line into the batch script's log. Where that cannot be, nothing stops: it is no buffer's business."""
    with suppress(OSError):
        os.write(1, f"{text}\n".encode())


def keep_trying(what: str, work: Callable[[], T]) -> T:
    """Do ``work`` until it succeeds; an OSError is said in the batch script's log, and it is done again after a pause.

    Args:
        what: what is read or written, for the log.
        work: leaves nothing half written behind where it fails.

    Raises:
        OutOfPatienceError: it still failed after RETRY_S seconds.
    """
    retry_s = float(os.environ.get("HPCDL_SAVE_RETRY_S", RETRY_S))
    until, pause_s = time.monotonic() + retry_s, 1.0
    while True:
        try:
            return work()
        except OSError as error:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise OutOfPatienceError(f"{what}: {error}, for {retry_s:.0f} s now") from error
            pause_s = min(pause_s, left_s)
            say(f"{what}: {error}; trying again in {pause_s:.0f} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
