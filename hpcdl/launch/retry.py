"""Tries again to read or write the run folder while its file system is full, read-only or away.

A run folder that somebody removed does not come back: then nothing is tried again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from hpcdl.contract import retry
from hpcdl.run.paths import RunPaths

SURE_AFTER = 3  # looks without the run folder: a network file system may forget one for a moment

T = TypeVar("T")


class OutOfPatienceError(Exception):
    """The file system did not recover in time; what was on disk before is untouched."""


class RunRemovedError(Exception):
    """Somebody removed the run folder: there is nothing to read or write any more."""


def say(text: str) -> None:
    """Write a line into the batch script's log.

    If it cannot be written, it is dropped. Unbuffered, so that a later flush cannot fail either.
    """
    with suppress(OSError):
        os.write(1, f"{text}\n".encode("utf-8", "surrogateescape"))  # a path need not be UTF-8


def keep_trying(what: str, work: Callable[[], T], run: RunPaths | None = None) -> T:
    """Do ``work`` until it succeeds, with pauses; the batch script's log names each OSError.

    Args:
        what: what is read or written, for the log.
        work: leaves nothing half written behind when it fails.
        run: the run that it is about; None if its removal does not matter.

    Raises:
        OutOfPatienceError: it still failed after `hpcdl.contract.retry.RETRY_S` seconds.
        RunRemovedError: the run's folder was removed.
    """
    removed_looks = 0

    def work_unless_removed() -> T:
        nonlocal removed_looks
        try:
            return work()
        except OSError as error:
            if run is None:
                raise
            removed_looks = removed_looks + 1 if run.is_removed() else 0
            if removed_looks >= SURE_AFTER:
                raise RunRemovedError(f"{run.root} was removed") from error
            raise

    return retry.keep_trying(
        work_unless_removed,
        say=lambda error, pause_s: say(f"{what}: {error}; trying again in {pause_s:.0f} s"),
        give_up=lambda error, tried_s: OutOfPatienceError(
            f"{what}: {error}, for {tried_s:.0f} s now"
        ),
    )
