"""A run: one folder on the shared file system, whose files are the truth."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcdl.errors import NoRunError, RunError, SchedulerError, UserError
from hpcdl.files import write_text
from hpcdl.oserrors import sentence
from hpcdl.run import records
from hpcdl.run.logs import numbered
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import FINAL, Status, fold, process_start, read

_LOOK_S = 0.5  # how often wait looks at a run's files
_FRESH_S = 60.0  # a heartbeat younger than this shows that the program runs


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
        RunError: the folder is no run.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.paths = RunPaths(Path(folder).absolute())
        if not self.paths.manifest.exists():
            raise RunError(f"{folder} is not a run folder (it has no manifest.json)")

    def __repr__(self) -> str:
        return f"Run({str(self.paths.root)!r})"

    @property
    def name(self) -> str:
        """``<name>/<run_id>``."""
        return "/".join(self.paths.root.parts[-2:])

    def created(self) -> float:
        """When it was made (unix time), from its manifest, or to the minute from its id."""
        created = records.manifest(self.paths).get("created")
        if created is not None:
            return float(created)
        try:
            return time.mktime(time.strptime(self.paths.root.name[:13], "%Y%m%d-%H%M"))
        except (ValueError, OverflowError):
            return 0.0

    def status(self, ask: bool = True) -> Status:
        """Its state, from its files; SLURM is asked only where they cannot say, and not too often.

        Args:
            ask: whether SLURM may be asked at all.
        """
        seen = read(self.paths)
        status = fold(seen)
        submitted = seen.submitted
        if status.final or not ask or submitted is None or submitted.get("backend") != "slurm":
            return status
        if status.state == "running" and time.time() - seen.heartbeat.get("time", 0.0) < _FRESH_S:
            return status  # it lives: no need to ask
        from hpcdl.scheduler import slurm
        from hpcdl.scheduler.clusters import on_cluster

        try:
            poll_s = int(records.plan(self.paths).get("min_poll_s", 60))
            job_ids = self.job_ids()
            with on_cluster(self.slurm_cluster()):
                found = slurm.jobs(
                    job_ids, poll_s, since=submitted.get("sent", submitted.get("time", 0.0))
                )
        except SchedulerError as error:  # no answer is no reason for another state
            return replace(status, note="; ".join(filter(None, (status.note, str(error)))))
        known = [found[job_id] for job_id in job_ids if job_id in found]
        # Of a chain the first job that has not ended speaks, else the last one.
        now = next(
            (info for info in known if info.state not in slurm.ENDED), known[-1] if known else None
        )
        # The files are read again: they may have changed while SLURM answered.
        return fold(read(self.paths), now)

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
        return records.result(self.paths)

    def is_script(self) -> bool:
        """Whether it runs the user's own script; a training has a run.json."""
        return not self.paths.spec.exists()

    def job_ids(self) -> list[str]:
        """SLURM's ids of its jobs, in the order in which they run; none for a local run."""
        submitted = records.submitted(self.paths) or {}
        job_id = submitted.get("job_id")
        return list(submitted.get("job_ids") or ([job_id] if job_id else []))

    def slurm_cluster(self) -> str | None:
        """The SLURM cluster that it was sent to, where a site has several."""
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

        Of a run that was cancelled before SLURM is told again.

        Raises:
            UserError: it is somebody else's run.
            SchedulerError: SLURM did not take it; the message says what is so now.
        """
        self.require_owner("cancel", root_may=True)
        state = self.status(ask=False).state
        if state in FINAL and state != "cancelled":
            return Cancelled(False)
        unmarked = "" if state == "cancelled" else self._mark_cancelled()
        try:
            self._end_jobs()
        except SchedulerError as error:
            if unmarked:
                raise SchedulerError(f"{error}\nThe run is not cancelled: {unmarked}") from error
            later = "it is not run again, and within a minute it ends itself if it runs"
            raise SchedulerError(f"{error}\nThe run is cancelled all the same: {later}") from error
        if unmarked:
            unmarked = self._mark_cancelled()  # what it kept open may be free now
        return Cancelled(state != "cancelled", unmarked)

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
        submitted = records.submitted(self.paths) or {}
        if submitted.get("backend") == "slurm" or self._may_be_in_slurm(submitted):
            from hpcdl.scheduler import slurm
            from hpcdl.scheduler.clusters import on_cluster

            with on_cluster(self.slurm_cluster()):
                job_ids = self.job_ids() or slurm.jobs_in(self.paths.root)
                if job_ids:
                    slurm.scancel(*job_ids)
            return
        pid, start = submitted.get("pid"), submitted.get("pid_start")
        if pid is not None and start is not None and process_start(pid) == start:
            _end_session(pid, start)

    def _may_be_in_slurm(self, submitted: dict[str, Any]) -> bool:
        """Whether its job may have been sent although nothing could be written down about it."""
        from hpcdl.scheduler import slurm

        return not submitted and self.paths.script.exists() and slurm.available()


def _user_name(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _end_session(pid: int, started: str, grace_s: float = 5.0) -> None:
    """End a local run's processes: TERM to all of its session's group, then KILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except OSError:
            return
        deadline = time.monotonic() + grace_s
        while process_start(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)


def runs_below(roots: Sequence[Path]) -> list[Run]:
    """All runs of these folders, oldest first: of runs_roots, and of folders into which runs were moved."""
    folders: set[Path] = set()
    for root in roots:
        moved = {
            path.parent
            for path in root.glob("[!.]*/plan.json")
            if path.with_name("manifest.json").exists()
        }
        below = {path.parent for path in root.glob("[!.]*/[!.]*/manifest.json")}
        folders |= moved | {folder for folder in below if folder.parent not in moved}
    runs = []
    for folder in folders:
        with suppress(RunError):  # removed meanwhile
            runs.append(Run(folder))
    return sorted(runs, key=lambda run: (run.created(), run.name))


def run_at(text: str) -> Run | None:
    """The run whose folder the user gave; None where the text is no path, but an id or a name.

    Raises:
        UserError: the text is empty, or a path that is not a run's folder.
    """
    if not text.strip():
        raise UserError(
            f"there is no run {text!r}: expected a run's folder or id (is a shell variable not set?)"
        )
    path = Path(os.path.expanduser(text))
    if os.path.exists(path / "manifest.json"):
        return Run(path)
    if os.path.exists(path):
        for parent in path.absolute().parents:
            if os.path.exists(parent / "manifest.json") and os.path.exists(parent / "plan.json"):
                raise UserError(f"{text} lies inside a run; give the run's folder: {parent}")
    if not text.startswith(("/", "./", "../", "~")) and text not in (".", ".."):
        return None
    if not os.path.isdir(path):
        raise NoRunError(f"there is no run folder {text}; hpcdl status lists the runs")
    inside = sorted(path.glob("*/manifest.json"))
    newest = f"; it holds {len(inside)} runs, such as {inside[-1].parent}" if inside else ""
    raise UserError(f"{text} is a folder, but not a run's folder (it has no manifest.json){newest}")


def find_run(text: str, roots: Sequence[Path]) -> Run:
    """The run for what the user typed: a path, a run id, a name, or enough of one.

    A whole name or id is tried first, then the beginning, then the end: people remember the
    last letters.

    Raises:
        UserError: no run, or several, fit.
    """
    fitting = find_runs(text, roots)
    if len(fitting) == 1:
        return fitting[0]
    lines = "".join(f"\n  {run.name}" for run in fitting[-10:])
    shown = "" if len(fitting) <= 10 else " (the newest ten, the newest last)"
    raise UserError(f"{text!r} fits {len(fitting)} runs; say more of it{shown}:{lines}")


def find_runs(text: str, roots: Sequence[Path]) -> list[Run]:
    """All runs that fit what the user typed, as `find_run` looks for them, oldest first.

    Raises:
        UserError: no run fits.
    """
    run = run_at(text)
    if run is not None:
        return [run]
    runs = runs_below(roots)
    names = fitting_names(text, [run.name for run in runs])
    fitting = [run for run in runs if run.name in names]
    if not fitting:
        where = ", ".join(str(root) for root in roots)
        raise NoRunError(f"there is no run {text!r} under {where}; hpcdl status lists them")
    return fitting


def fitting_names(text: str, names: Sequence[str]) -> list[str]:
    """The runs that a text stands for: a whole name or id, else its beginning, else its end.

    Args:
        text: what the user typed.
        names: ``<name>/<run_id>`` of each.
    """
    for fits in (_is_whole, _begins, _ends):
        fitting = [name for name in names if fits(name, text)]
        if fitting:
            return fitting
    return []


def _is_whole(name: str, text: str) -> bool:
    return text == name or text in name.split("/")


def _begins(name: str, text: str) -> bool:
    return name.startswith(text) or name.rpartition("/")[2].startswith(text)


def _ends(name: str, text: str) -> bool:
    return len(text) >= 4 and name.endswith(text)
