"""The time limit as launch sees it: asks the program to save and stop while there is still time."""

from __future__ import annotations

from hpcdl.launch.retry import keep_trying
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Heartbeat

SAVES_KEPT_FREE = 3  # a save may be slower than the slowest so far
KILL_WAIT_S = 10.0  # SLURM gives 30 by default
_EARLY_S = 90.0  # SLURM's own warning may come a minute early


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

    def look(self, now: float, pid: int) -> None:
        """Create the stop file if it is time; note when the program must be killed."""
        if self.end_time is None:
            return
        self.overtime = self.kills and now >= self.end_time + KILL_WAIT_S
        if self.stop_requested:
            return
        slowest_save_s = Heartbeat.read(self.paths).slowest_save_s or 0.0
        needed_s = SAVES_KEPT_FREE * slowest_save_s + self.margin_s
        if now >= self.end_time - needed_s:
            keep_trying("the stop file", self.paths.stop.touch, self.paths)
            self.stop_requested = True

    def near_the_end(self, lead_s: float, now: float) -> bool:
        """Whether a request to stop that came now may be the time limit's.

        Args:
            lead_s: how long before the limit SLURM is to send its warning.
            now: unix time.
        """
        if self.stop_requested:
            return True
        return self.end_time is not None and now >= self.end_time - lead_s - _EARLY_S
