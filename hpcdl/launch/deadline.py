"""The time limit as launch sees it: asks the program to save and stop while there is still time."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from hpcdl.launch.retry import keep_trying, say
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Heartbeat

SAVES_KEPT_FREE = 3  # a save may be slower than the slowest so far
KILL_WAIT_S = 10.0  # SLURM gives 30 by default
_EARLY_S = 90.0  # SLURM's own warning may come a minute early
_CLOCK = "hpcdl's clock"
_OTHERS = "the stop file"
_ASKED = re.compile(r"^(.+) asks the program to save and stop, (-?\d+) s before the limit$", re.M)
_ENDED = re.compile(r"^the program has ended, (-?\d+) s before the limit$", re.M)


@dataclass(frozen=True)
class Request:
    """A request to save and stop, as the batch script's log shows it.

    Args:
        by_clock: whether hpcdl's own clock made it; else SLURM's warning made the stop file.
        left_s: how long before the time limit that was.
        ended_s: how long before it the program had ended; None if it had not.
    """

    by_clock: bool
    left_s: int
    ended_s: int | None = None

    @property
    def is_in_time(self) -> bool:
        """Whether the program had ended before the time limit."""
        return self.ended_s is not None and self.ended_s > 0


class Deadline:
    """A watcher that creates the stop file when the time left is needed for saving.

    SLURM's own warning comes up to a minute early or, on some sites, not at all: it is the net
    under this.

    Args:
        paths: the run.
        end_time: when the job reaches its time limit (unix time), or None if nobody knows.
        margin_s: seconds kept free in addition to three of the slowest saves so far.
        kills: whether launch must kill a program that goes on beyond the limit; SLURM does it
            itself.
    """

    def __init__(
        self, paths: RunPaths, end_time: float | None, margin_s: float, kills: bool = False
    ) -> None:
        self.paths = paths
        self.end_time = end_time
        self.margin_s = margin_s
        self.kills = kills
        self.stop_requested = False
        self.overtime = False
        self._is_said = False

    def look(self, now: float, pid: int) -> None:
        """Create the stop file if it is time; note when the program must be killed."""
        if self.end_time is None:
            return
        self.overtime = self.kills and now >= self.end_time + KILL_WAIT_S
        if self.stop_requested:
            return
        self._note_request(now)
        slowest_save_s = Heartbeat.read(self.paths).slowest_save_s or 0.0
        needed_s = SAVES_KEPT_FREE * slowest_save_s + self.margin_s
        if now >= self.end_time - needed_s:
            keep_trying("the stop file", self.paths.stop.touch, self.paths)
            self.stop_requested = True
            self._say(_CLOCK, now)

    def note_end(self, now: float) -> None:
        """The program has ended: say when in the batch script's log, if it was asked to stop."""
        self._note_request(now)  # it may have ended at once
        if self.end_time is not None and self._is_said:
            say(f"the program has ended, {self.end_time - now:.0f} s before the limit")

    def _note_request(self, now: float) -> None:
        # Not Path.exists, which raises where the file system has a hiccup
        if not self._is_said and os.path.exists(self.paths.stop):
            self._say(_OTHERS, now)

    def _say(self, who: str, now: float) -> None:
        """Write into the batch script's log who was the first to ask the program to stop."""
        if self.end_time is not None and not self._is_said:
            left_s = self.end_time - now
            say(f"{who} asks the program to save and stop, {left_s:.0f} s before the limit")
            self._is_said = True

    def near_the_end(self, lead_s: float, now: float) -> bool:
        """Whether a request to stop that came now may be the time limit's.

        Args:
            lead_s: how long before the limit SLURM is to send its warning.
            now: unix time.
        """
        if self.stop_requested:
            return True
        return self.end_time is not None and now >= self.end_time - lead_s - _EARLY_S


def first_request(output: str) -> Request | None:
    """The first request to stop in the output of a batch script; None if there is none."""
    asked = _ASKED.search(output)
    if asked is None:
        return None
    ended = _ENDED.search(output, asked.end())
    return Request(asked[1] == _CLOCK, int(asked[2]), int(ended[1]) if ended else None)
