"""Sends the jobs of a test, follows them to their ends, and collects what they showed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import HpcdlError
from hpcdl.formats import seconds
from hpcdl.oserrors import sentence
from hpcdl.promises.evidence import JobEvidence, read_run
from hpcdl.promises.jobs import TestJob
from hpcdl.promises.names import CANCEL
from hpcdl.promises.node_verdicts import LATE_S
from hpcdl.promises.slurms_words import in_accounting, in_queue
from hpcdl.promises.verdict import LEFT_EARLY
from hpcdl.run import records, states
from hpcdl.run.handle import Run
from hpcdl.run.looking import look
from hpcdl.run.state import Status
from hpcdl.scheduler.jobinfo import FINISHED
from hpcdl.submission.send import submit

_LOOK_S = 0.5
_SETTLES_S = 60.0  # how long SLURM may take to know of an end
_CANCELLED_S = 15.0  # a site that runs a cancelled job again does it soon
_LONGEST_POLL_S = 10.0
_LONGEST_GAP_S = 60.0  # between two looks
_SOON_S = 2.0
_OVER_S = 30.0  # SLURM may end a job half a minute after its time limit
_RUNS = frozenset([states.RUNNING, states.STOPPING])
_WAITS = frozenset([states.CREATED, states.QUEUED, states.REQUEUED, states.UNKNOWN])
Say = Callable[[str], None]


@dataclass
class SentJob:
    """A job of the test while it is followed.

    job: what was to be sent.
    run: its run; None if it was not sent.
    unsent: why it was not sent, or did not start.
    check: the check that refused it.
    fix: what to do about that.
    shown: the last line that was said of it.
    starts: how many of its attempts were noticed.
    lines: how many lines on attempts were noticed.
    read_at: when these were read (time.monotonic).
    waits_since: since when it has been waiting (time.monotonic); None if it does not.
    ran_s: how long it has run, over all its attempts.
    looked_at: when that was counted (time.monotonic).
    lag_s: how long after it was written a file was seen here, at best.
    left: why nobody waits for its end; "" if somebody does.
    uncancelled: why it could not be cancelled.
    """

    job: TestJob
    run: Run | None = None
    unsent: str = ""
    check: str = ""
    fix: str = ""
    shown: str = ""
    starts: int = 0
    lines: int = 0
    read_at: float | None = None
    waits_since: float | None = None
    ran_s: float = 0.0
    looked_at: float | None = None
    lag_s: float | None = None
    left: str = ""
    uncancelled: str = ""

    def read_attempts(self, run: Run) -> None:
        """Note what the run's file on its attempts shows, and how late it shows it."""
        events = records.read_attempts(run.paths)
        now = time.monotonic()
        if len(events) > self.lines and events[-1].time is not None:
            lag_s = time.time() - events[-1].time
            # Else nobody looked for a while, as jobs were sent or SLURM was asked
            is_files = self.read_at is not None and now - self.read_at < _SOON_S
            if is_files or lag_s < LATE_S:
                self.lag_s = min(lag_s, self.lag_s or lag_s)
        self.lines, self.read_at = len(events), now
        self.starts = sum(event.is_start for event in events)


@dataclass
class Watch:
    """The jobs of a test, from the first that is sent to the last that has ended.

    cluster: the profile.
    say: tells people something.
    wait_limit_s: how long a job may wait in the queue.
    jobs: the jobs.
    cancelled_at: when the job was cancelled that is to be (time.monotonic).
    """

    cluster: Cluster
    say: Say
    wait_limit_s: float
    jobs: list[SentJob] = field(default_factory=list)
    cancelled_at: float | None = None

    def send(self) -> None:
        """Send the jobs; one that SLURM refuses does not keep the others back."""
        for sent in self.jobs:
            if sent.unsent:
                continue
            try:
                sent.run = submit(sent.job.submission, sys.argv)
                self.say(f"{sent.job.name}: job {', '.join(sent.run.job_ids())}")
            except (HpcdlError, OSError) as error:
                sent.unsent = _words(error).partition("\nThe run was made")[0]
                self.say(f"{sent.job.name}: not sent: {sent.unsent}")

    def follow(self) -> None:
        """Wait until all jobs have ended, and SLURM knows of it."""
        while not self._look():
            time.sleep(_LOOK_S)
        self._settle()

    def cancel_all(self) -> None:
        """Leave the test: cancel whatever still waits or runs."""
        for sent in self.jobs:
            folder = sent.job.submission.paths
            if sent.run is None and os.path.exists(folder.manifest):
                sent.run = Run(folder.root)  # it was left while it was sent
            if sent.run is None:
                sent.unsent = sent.unsent or LEFT_EARLY
                continue
            # Whatever one job or the terminal does, the others are cancelled
            with suppress(HpcdlError, OSError):
                if not sent.run.status(ask=False).final:
                    sent.left = LEFT_EARLY
            with suppress(OSError):
                self._cancel(sent, sent.run)

    def evidence(self) -> dict[str, JobEvidence]:
        """What the jobs have shown so far, by their names."""
        by_job = {}
        for sent in self.jobs:
            about = JobEvidence()
            try:
                if sent.run is not None:
                    about = read_run(str(sent.run.paths.root))
            except (HpcdlError, OSError) as error:  # somebody has removed it
                sent.unsent = sent.unsent or _words(error)
            by_job[sent.job.name] = replace(
                about,
                unsent=sent.unsent,
                check=sent.check,
                fix=sent.fix,
                lag_s=sent.lag_s,
                left=sent.left,
                uncancelled=sent.uncancelled,
            )
        return self._with_slurms_words(by_job)

    def end_what_is_left(self, evidence: dict[str, JobEvidence]) -> None:
        """Cancel once more what SLURM still knows as waiting or running.

        Args:
            evidence: as `evidence` gives it.
        """
        for sent in self.jobs:
            queue = evidence[sent.job.name].queue
            if sent.run is not None and queue is not None and queue not in FINISHED:
                self._cancel(sent, sent.run)

    def _cancel(self, sent: SentJob, run: Run) -> None:
        """Cancel a job; where that fails it is said, and the others go on."""
        try:
            run.cancel()
        except (HpcdlError, OSError) as error:
            sent.uncancelled = _words(error)
            self.say(f"{sent.job.name}: not cancelled: {sent.uncancelled}")

    def _look(self) -> bool:
        """Look at all runs once; whether they have all ended, or cannot be ended."""
        living = [(sent, sent.run) for sent in self.jobs if sent.run is not None]
        looks = look([run.paths for _, run in living])
        for (sent, run), seen in zip(living, looks, strict=True):
            self._note(sent, run, seen.status)
            self._limit_wait(sent, run, seen.status)
            self._limit_time(sent, run, seen.status.state in _RUNS)
        ends = [seen.status.final for seen in looks]
        return all(end or sent.uncancelled for end, (sent, _) in zip(ends, living, strict=True))

    def _limit_wait(self, sent: SentJob, run: Run, status: Status) -> None:
        """Cancel a job that has waited too long since it was sent, or since its last attempt."""
        if status.state not in _WAITS:
            sent.waits_since = None
            return
        now = time.monotonic()
        sent.waits_since = sent.waits_since or now
        waited_s = now - sent.waits_since
        if waited_s <= self.wait_limit_s:
            return
        reason = f": {status.note}" if status.note else ""
        waited = seconds(waited_s).replace("\N{NO-BREAK SPACE}", " ")
        self._leave(sent, run, f"it waited {waited} (--wait-limit){reason}")

    def _limit_time(self, sent: SentJob, run: Run, runs: bool) -> None:
        """Cancel a job that has run longer than was said: SLURM has run it again, perhaps."""
        now = time.monotonic()
        if runs and sent.looked_at is not None:
            sent.ran_s += min(now - sent.looked_at, _LONGEST_GAP_S)  # Ctrl-Z stops this clock
        sent.looked_at = now
        if sent.ran_s > sent.job.most_s + _OVER_S:
            why = f"it ran longer than the {sent.job.most_s / 60:.0f} min that were said"
            again = f", as SLURM ran it {sent.starts} times" if sent.starts > 1 else ""
            self._leave(sent, run, why + again)

    def _leave(self, sent: SentJob, run: Run, why: str) -> None:
        """Cancel a job whose end nobody waits for, once."""
        if sent.unsent or sent.left:
            return
        if sent.starts:
            sent.left = why
        else:
            sent.unsent = why
        self._cancel(sent, run)
        if not sent.uncancelled:
            self.say(f"{sent.job.name}: cancelled: {why}")

    def _note(self, sent: SentJob, run: Run, status: Status) -> None:
        """Note what is new of a run; cancel the one that is to be cancelled."""
        sent.read_attempts(run)
        line = f"{sent.job.name}: {status.state}"
        if status.node and status.state == states.RUNNING:
            line += f" on {status.node}"
        if line != sent.shown:
            sent.shown = line
            self.say(line)
        begun = sent.starts > 0 and run.logs()
        if sent.job.name == CANCEL and begun and self.cancelled_at is None and not status.final:
            self._cancel(sent, run)
            self.cancelled_at = time.monotonic()

    def _settle(self) -> None:
        """Wait until SLURM, and its accounting, know the jobs as ended."""
        deadline = time.monotonic() + _SETTLES_S
        pause_s = min(_LONGEST_POLL_S, max(1.0, self.cluster.min_poll_s))
        if self.cancelled_at is not None:
            time.sleep(max(0.0, self.cancelled_at + _CANCELLED_S - time.monotonic()))
        while not self._is_settled() and time.monotonic() < deadline:
            time.sleep(pause_s)

    def _is_settled(self) -> bool:
        """Whether accounting knows all jobs as ended; the queue, where there is no accounting."""
        job_ids = self._job_ids()
        accounted = in_accounting(self.cluster, job_ids)
        if not accounted.error:
            return all(accounted.states.get(job_id) in FINISHED for job_id in job_ids)
        queued = in_queue(self.cluster)
        return all(queued.states.get(job_id) in (None, *FINISHED) for job_id in job_ids)

    def _job_ids(self) -> list[str]:
        job_ids: list[str] = []
        for sent in self.jobs:
            job_ids += sent.run.job_ids() if sent.run is not None else []
        return job_ids

    def _with_slurms_words(self, by_job: dict[str, JobEvidence]) -> dict[str, JobEvidence]:
        """The evidence with what the queue and accounting say after all."""
        accounted, queued = in_accounting(self.cluster, self._job_ids()), in_queue(self.cluster)
        for name, about in by_job.items():
            words = [queued.states[job_id] for job_id in about.job_ids if job_id in queued.states]
            by_job[name] = replace(
                about,
                queue=min(words, key=_is_over, default=None),  # of a chain what still lives
                queue_error=queued.error,
                accounted=accounted.states.get(about.job_ids[-1]) if about.job_ids else None,
                accounting_error=accounted.error,
            )
        return by_job


def _is_over(word: str) -> int:
    return (word == "COMPLETING") + 2 * (word in FINISHED)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return sentence(error)
    return str(error)
