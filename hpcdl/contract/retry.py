"""Tries again to read or write while a file system is full, read-only or away."""

from __future__ import annotations

import os
import time
from typing import Callable, TypeVar

RETRY_S = 300.0  # HPCDL_SAVE_RETRY_S takes its place, for tests
_LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


def keep_trying(
    work: Callable[[], T],
    say: Callable[[OSError, float], None],
    give_up: Callable[[OSError, float], Exception],
) -> T:
    """Do `work` until it raises no OSError. The pauses between two tries grow.

    Args:
        work: leaves nothing half written behind when it fails.
        say: called with each error and the seconds until the next try.
        give_up: makes the exception to raise at the end, of the last error and the seconds for
            which it was tried.

    Returns:
        what `work` returns.

    Raises:
        Exception: as `give_up` makes it, when `work` still fails after `RETRY_S` seconds.
    """
    patience_s = retry_s()
    until = time.monotonic() + patience_s
    pause_s = 1.0
    while True:
        try:
            return work()
        except OSError as error:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise give_up(error, patience_s) from error
            pause_s = min(pause_s, left_s)
            say(error, pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def retry_s() -> float:
    """For how many seconds a failed write is tried again."""
    try:
        return float(os.environ.get("HPCDL_SAVE_RETRY_S", RETRY_S))
    except ValueError:
        return RETRY_S
