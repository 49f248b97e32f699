"""One run: its status, its result, its logs, and cancelling it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import RunError, SchedulerError, UserError
from hpcdl.files import write_text
from hpcdl.oserrors import sentence
from hpcdl.run import records, states
from hpcdl.run.epochs import read_epochs
from hpcdl.run.logs import numbered
from hpcdl.run.looking import look
from hpcdl.run.paths import TrialPaths, run_paths
from hpcdl.run.process_start import process_start
from hpcdl.run.records import Manifest, Submitted
from hpcdl.run.result import Result
from hpcdl.run.state import Status
from hpcdl.run.tidying import forget_page

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_LOOK_S = 0.5  # how often wait looks at a run's files


@dataclass(frozen=True)
class Cancelled:
    """What `Run.cancel` did; true if the run had not ended.

    ``unmarked`` says why its folder does not show that it is cancelled; SLURM then knows alone.
    """

    had_not_ended: bool
    unmarked: str = ""

    def __bool__(self) -> bool:
        return self.had_not_ended


class Run:
    """One run, by its folder.

    Raises:
        RunError: the folder is not a run.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.paths = run_paths(Path(folder).absolute())
        if not self.paths.manifest.exists():
            raise RunError(f"{folder} is not a run folder (it has no manifest.json)")

    def __fspath__(self) -> str:
        return str(self.paths.root)

    def __repr__(self) -> str:
        return f"Run({str(self.paths.root)!r})"

    @property
    def name(self) -> str:
        """``<name>/<run_id>``; of a sweep's trial ``<name>/<sweep_id>/<number>``."""
        if isinstance(self.paths, TrialPaths):
            *parts, _, number = self.paths.root.parts[-4:]
            return "/".join([*parts, str(int(number))])
        return "/".join(self.paths.root.parts[-2:])

    def created(self) -> float:
        """When it was made (unix time), from its manifest, or to the minute from its id."""
        created = Manifest.read(self.paths).created
        if created is not None:
            return created
        try:
            return time.mktime(time.strptime(self.paths.root.name[:13], "%Y%m%d-%H%M"))
        except (ValueError, OverflowError):
            return 0.0

    def status(self, ask: bool = True) -> Status:
        """Its status, from its files; SLURM is asked only if they cannot say, and not too often.

        Args:
            ask: whether SLURM may be asked at all.
        """
        return look([self.paths], ask)[0].status

    def wait(self, timeout_s: float | None = None) -> Status:
        """Wait until its state is final.

        Raises:
            TimeoutError: it did not end within timeout_s.
        """
        for status in self.watch(timeout_s):
            if status.final:
                return status
        raise AssertionError("watch ends with a final state")

    def watch(self, timeout_s: float | None = None) -> Iterator[Status]:
        """Its status again and again until it is final. The files are looked at, not SLURM."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if not self.paths.manifest.exists():
                root = self.paths.root
                raise RunError(f"{root} was removed; what still runs of it ends by itself")
            status = self.status()
            yield status
            if status.final:
                return
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still {status.state} after {timeout_s} s")
            time.sleep(_LOOK_S)

    def result(self) -> dict[str, Any] | None:
        """What came out (result.json), or None while there is nothing."""
        result = Result.read(self.paths)
        return None if result is None else result.keys

    def metrics(self) -> dict[str, npt.NDArray[np.float64]]:
        """Its metrics by name, one value for each epoch.

        Returns:
            Arrays of shape (epochs,); NaN where an epoch has no value. ``epoch`` is among them.
        """
        import numpy as np

        rows = read_epochs(self.paths)
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {}
        for name in names:
            values = [row.get(name) for row in rows]
            columns[name] = np.array(
                [np.nan if value is None else value for value in values], np.float64
            )
        return columns

    def _repr_html_(self) -> str:
        """Its status as a table, for a notebook."""
        from html import escape

        status = self.status(ask=False)
        rows = [("state", status.state), ("note", status.note)]
        if status.epoch is not None:
            rows.append(("epoch", f"{status.epoch} of {status.epochs}"))
        for name, value in status.metrics.items():
            rows.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
        lines = []
        for name, value in rows:
            lines.append(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>")
        return f"<table><caption>{escape(self.name)}</caption>{''.join(lines)}</table>"

    def is_script(self) -> bool:
        """Whether it runs the user's own script; a training has a run.json."""
        return not (self.paths.spec.exists() or self.is_prediction())

    def is_prediction(self) -> bool:
        """Whether it predicts images with the models of other runs."""
        return self.paths.prediction.exists()

    def job_ids(self) -> list[str]:
        """SLURM's ids of its jobs, in the order in which they run; none for a local run."""
        submitted = Submitted.read(self.paths)
        return [] if submitted is None else submitted.all_job_ids

    def slurm_cluster(self) -> str | None:
        """The SLURM cluster that it was sent to, if the site has several."""
        from hpcdl.scheduler.clusters import cluster_of

        return cluster_of(records.plan(self.paths))

    def logs(self) -> list[Path]:
        """Its logs so far, a file per attempt in order."""
        return numbered(self.paths)

    def require_owner(self, verb: str, root_may: bool = False) -> None:
        """Make sure that the run belongs to this user.

        Args:
            verb: what only its owner can do, for the message.
            root_may: whether root can do it, too.

        Raises:
            UserError: it is somebody else's.
        """
        user, owner = os.geteuid(), self.paths.manifest.stat().st_uid
        if user == owner or (root_may and user == 0):
            return
        name = _user_name(owner)
        raise UserError(f"{self.name} is {name}'s run: only {name} can {verb} it")

    def cancel(self) -> Cancelled:
        """Cancel it for good; its jobs are ended even if nothing can be written in its folder.

        If it was cancelled before, SLURM is told again.

        Raises:
            UserError: it is somebody else's run.
            SchedulerError: SLURM did not take it; the message says what is so now.
        """
        self.require_owner("cancel", root_may=True)
        state = self.status(ask=False).state
        was_cancelled = state == states.CANCELLED
        if state in states.FINAL and not was_cancelled:
            forget_page(self.paths)
            return Cancelled(False)
        unmarked = "" if was_cancelled else self._mark_cancelled()
        if isinstance(self.paths, TrialPaths):
            self.paths.stop.touch()  # its task ends the trial and goes on with the next one
            return Cancelled(not was_cancelled, unmarked)
        try:
            self._end_jobs()
        except SchedulerError as error:
            if unmarked:
                raise SchedulerError(f"{error}\nThe run is not cancelled: {unmarked}") from error
            later = "it is not run again, and within a minute it ends itself if it runs"
            raise SchedulerError(f"{error}\nThe run is cancelled anyway: {later}") from error
        forget_page(self.paths)
        if unmarked:
            unmarked = self._mark_cancelled()  # what it kept open may be free now
        return Cancelled(not was_cancelled, unmarked)

    def _mark_cancelled(self) -> str:
        """Leave the mark by which every later attempt ends at once; why it cannot be, or nothing.

        It comes before SLURM is told: a job that saves and stops at once would be requeued.
        """
        try:
            write_text(self.paths.cancelled, time.strftime("%Y-%m-%d %H:%M:%S\n"))
        except OSError as error:
            try:
                self.paths.cancelled.touch()  # an empty file has room on many full disks
            except OSError:
                return sentence(error)
        return ""

    def _end_jobs(self) -> None:
        """End its jobs or, of a local run, its processes.

        Raises:
            SchedulerError: SLURM did not take it.
        """
        submitted = Submitted.read(self.paths)
        if self._may_be_in_slurm(submitted):
            from hpcdl.scheduler import slurm
            from hpcdl.scheduler.clusters import on_cluster

            with on_cluster(self.slurm_cluster()):
                job_ids = self.job_ids() or slurm.jobs_in(self.paths.root)
                if job_ids:
                    slurm.scancel(*job_ids)
        elif submitted is not None:
            for pid, pid_start in submitted.processes:
                _end_session(pid, pid_start)

    def _may_be_in_slurm(self, submitted: Submitted | None) -> bool:
        """Whether it was sent to SLURM; perhaps nothing could be written down about that."""
        if submitted is not None and submitted != Submitted():  # nothing in it is usable
            return submitted.backend == "slurm"
        from hpcdl.scheduler import slurm

        return self.paths.script.exists() and slurm.available()


def _user_name(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _end_session(pid: int, started: str, grace_s: float = 5.0) -> None:
    """End a local run's processes: TERM to all of its session's group, then KILL."""
    if process_start(pid) != started:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except OSError:
            return
        deadline = time.monotonic() + grace_s
        while process_start(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)
