"""Chooses runs and sweeps by name, by state and by age."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.errors import UserError
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.cli.options import Places
    from hpcdl.run.listing import ListedRun, Listing

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


def fits_name(name: str, patterns: Sequence[str]) -> bool:
    """Whether a run's name, its id or both fit one of the patterns (``*``, ``?``, ``[...]``).

    Args:
        name: ``<name>/<run_id>``.
        patterns: what the user typed.
    """
    names = (name, *name.split("/"))
    return any(fnmatchcase(part, pattern) for part in names for pattern in patterns)


class Chosen:
    """The runs and sweeps that RUN arguments mean; without arguments, all.

    Args:
        texts: the arguments; one may be a pattern, and fit several runs.
        places: where runs are looked for; a folder needs none, and no cluster.
        several: whether an argument that is not a pattern may fit several runs, too.
        fresh: whether to read all anew, also what is remembered of runs that have ended.

    Raises:
        UserError: an argument fits no run, or several.
    """

    def __init__(
        self, texts: Sequence[str], places: Places, several: bool = False, fresh: bool = False
    ) -> None:
        self._places = places
        self._several = several
        self._fresh = fresh
        self._listing: Listing | None = None
        patterns = [text for text in texts if is_pattern(text)]
        runs: dict[str, ListedRun] = {}
        for text in texts:
            if text not in patterns:
                runs.update({run.folder: run for run in self._named(text)})
        if patterns or not texts:
            for run in self._all().runs:
                if not texts or fits_name(run.name, patterns):
                    runs.setdefault(run.folder, run)
        self.runs = list(runs.values())

    def save(self) -> None:
        """Remember what was read, for the next command."""
        if self._listing is not None:
            self._listing.save()

    def _named(self, text: str) -> list[ListedRun]:
        from hpcdl.run.finding import fitting_runs, require_one, run_at
        from hpcdl.run.listing import listed

        run = run_at(text)
        if run is not None:
            return [listed(run)]
        fitting = fitting_runs(text, self._all())
        if not self._several:
            require_one(text, [run.name for run in fitting])
        if len(fitting) > 1:
            options.say(f"{text!r} fits {len(fitting)} runs")
        return fitting

    def _all(self) -> Listing:
        from hpcdl.run.listing import Listing

        if self._listing is None:
            self._listing = Listing(options.run_roots(self._places), self._fresh)
        return self._listing
