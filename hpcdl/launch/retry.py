"""Reads and writes the run folder while its file system is full, read-only or away: tries again.

A run folder that somebody removed does not come back: then nothing is tried again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from hpcdl.run.paths import RunPaths

RETRY_S = (
    300.0  # HPCDL_SAVE_RETRY_S takes its place, for tests; the trainer's own saving reads it too
)
_LONGEST_PAUSE_S = 30.0
SURE_AFTER = 3  # looks without the run folder: a network file system may forget one for a moment

T = TypeVar("T")


class OutOfPatienceError(Exception):
    """The file system did not recover in time; what was on disk before is untouched."""


class RunRemovedError(Exception):
    """Somebody removed the run folder: there is nothing to read or write any more."""


def say(text: str) -> None:
    """Write a line into the batch script's log. Where that cannot be, nothing stops: it is no buffer's business."""
    with suppress(OSError):
        os.write(1, f"{text}\n".encode("utf-8", "surrogateescape"))  # a path need not be UTF-8


def keep_trying(what: str, work: Callable[[], T], run: RunPaths | None = None) -> T:
    """Do ``work`` until it succeeds, with pauses; each OSError is said in the batch script's log.

    Args:
        what: what is read or written, for the log.
        work: leaves nothing half written behind where it fails.
        run: the run that it is about.

    Raises:
        OutOfPatienceError: it still failed after RETRY_S seconds.
        RunRemovedError: the run's folder was removed.
    """
    removed_looks = 0
    retry_s = float(os.environ.get("HPCDL_SAVE_RETRY_S", RETRY_S))
    until, pause_s = time.monotonic() + retry_s, 1.0
    while True:
        try:
            return work()
        except OSError as error:
            removed_looks = removed_looks + 1 if run is not None and run.is_removed() else 0
            if run is not None and removed_looks >= SURE_AFTER:
                raise RunRemovedError(f"{run.root} was removed") from error
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise OutOfPatienceError(f"{what}: {error}, for {retry_s:.0f} s now") from error
            pause_s = min(pause_s, left_s)
            say(f"{what}: {error}; trying again in {pause_s:.0f} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
