"""Tries again to save while the disk is full, over quota, read-only or ill."""

from __future__ import annotations

from typing import Callable, TypeVar

from hpcdl.contract import retry
from hpcdl.contract.errors import Unsaved
from hpcdl.trainer.runtime.log import say

T = TypeVar("T")


def keep_trying(what: str, write: Callable[[], T]) -> T:
    """Do `write` until it succeeds, with pauses; the run's log names each OSError.

    Args:
        what: what is written, as the log names it.
        write: leaves nothing half written behind when it fails.

    Raises:
        Unsaved: it still failed after `hpcdl.contract.retry.RETRY_S` seconds.
    """

    def say_pause(error: OSError, pause_s: float) -> None:
        say("{} cannot be written: {}; trying again in {:.0f} s".format(what, error, pause_s))

    def unsaved(error: OSError, tried_s: float) -> Unsaved:
        return Unsaved(
            "{} cannot be written, for {:.0f} s now: {}; what was saved before is intact: make it "
            "possible to write there, and run me again to go on".format(what, tried_s, error)
        )

    return retry.keep_trying(write, say_pause, unsaved)
