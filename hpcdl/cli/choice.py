"""Chooses runs by name, by state and by age."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hpcdl.errors import UserError
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.run import Run

WAITING = (states.QUEUED, states.REQUEUED)
_ENDED = (states.DONE, states.PRUNED, states.FAILED, states.CANCELLED, states.LOST)
STATES = (states.CREATED, *WAITING, states.RUNNING, states.STOPPING, *_ENDED, states.UNKNOWN)
_UNITS_S = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def since_time(text: str, now: float) -> float:
    """The time that an age or a date means, in seconds since 1970.

    Args:
        text: an age as ``2d``, ``12h``, ``30m`` or ``3w``, or a date as ``2026-11-20``.
        now: the present time, in seconds since 1970.

    Raises:
        UserError: the text is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip())
    if match:
        return now - float(match[1]) * _UNITS_S[match[2]]
    for date_format in _DATES:
        try:
            return time.mktime(time.strptime(text.strip(), date_format))
        except (ValueError, OverflowError):
            continue
    raise UserError(f"expected an age as 30m, 12h, 2d or 3w, or a date as 2026-11-20; got {text!r}")


def is_pattern(text: str) -> bool:
    """Whether a RUN may stand for several runs; an existing path stands only for itself."""
    return any(sign in text for sign in "*?[") and not os.path.exists(text)


def fits_name(run: Run, patterns: Sequence[str]) -> bool:
    """Whether a run's name, its id or both fit one of the patterns (``*``, ``?``, ``[...]``)."""
    names = (run.name, run.paths.root.parent.name, run.paths.root.name)
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
