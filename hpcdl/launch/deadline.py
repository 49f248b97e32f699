"""Asks the program to save and stop while there is still time: the time limit as launch itself sees it."""

from __future__ import annotations

import time
from typing import Any

from hpcdl.files import read_json
from hpcdl.launch.retry import keep_trying
from hpcdl.run.paths import RunPaths

SAVES_KEPT_FREE = 3  # a save may be slower than the slowest so far
KILL_WAIT_S = 10.0  # SLURM gives 30 by default


class Clock:
    """Creates the stop file when what is left of the time limit is needed for saving.

    SLURM's own warning comes up to a minute early or, on some sites, not at all: it is the net under this.

    Args:
        paths: the run.
        end_time: when the job reaches its time limit (unix time), or None where nobody knows.
        margin_s: seconds kept free beside three of the slowest saves so far.
        kills: whether a program that goes on beyond the limit is launch's to kill; SLURM does it itself.
    """

    def __init__(
        self, paths: RunPaths, end_time: float | None, margin_s: float, kills: bool = False
    ) -> None:
        self.paths = paths
        self.end_time = end_time
        self.margin_s = margin_s
        self.kills = kills
        self.rang = False
        self.overtime = False

    def look(self, now: float | None = None) -> None:
        """Create the stop file if it is time; note when the limit has passed and the program must be killed."""
        if self.end_time is None:
            return
        now = time.time() if now is None else now
        self.overtime = self.kills and now >= self.end_time + KILL_WAIT_S
        if self.rang:
            return
        heartbeat: dict[str, Any] = read_json(self.paths.heartbeat) or {}
        needed_s = SAVES_KEPT_FREE * float(heartbeat.get("slowest_save_s") or 0.0) + self.margin_s
        if now >= self.end_time - needed_s:
            keep_trying("the stop file", self.paths.stop.touch, self.paths)
            self.rang = True

    def near_the_end(self, lead_s: float, now: float) -> bool:
        """Whether a warning that came now may be the time limit's: SLURM sends it up to a minute early."""
        return self.rang or (self.end_time is not None and now >= self.end_time - lead_s - 90.0)
