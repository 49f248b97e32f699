"""Writing to a disk that is full, over quota, read-only or ill for a while: try again before giving up."""

from __future__ import annotations

import os
import time
from typing import Callable, TypeVar

from hpcdl.contract.errors import Unsaved
from hpcdl.trainer.runtime.log import say

RETRY_S = 300.0  # HPCDL_SAVE_RETRY_S takes its place, for tests
LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


def keep_trying(what: str, write: Callable[[], T]) -> T:
    """Do `write` until it succeeds; an OSError is said in the log, and it is done again after a pause.

    Args:
        what: what is written, as the log names it.
        write: leaves nothing half written behind when it fails.

    Raises:
        Unsaved: it still failed after `RETRY_S` seconds.
    """
    until, pause = time.monotonic() + _retry_s(), 1.0
    while True:
        try:
            return write()
        except OSError as error:
            left = until - time.monotonic()
            if left <= 0:
                raise Unsaved(
                    "{} cannot be written, for {:.0f} s now: {}; what was saved before is intact: make it "
                    "possible to write there, and run me again to go on".format(
                        what, _retry_s(), error
                    )
                ) from error
            pause = min(pause, left)
            say("{} cannot be written: {}; trying again in {:.0f} s".format(what, error, pause))
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _retry_s() -> float:
    try:
        return float(os.environ.get("HPCDL_SAVE_RETRY_S", RETRY_S))
    except ValueError:
        return RETRY_S
