"""One test of a site: prepared, checked, sent, followed and judged."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from hpcdl.cluster.schema import Cluster
from hpcdl.contract.tables import aligned
from hpcdl.errors import SchedulerError
from hpcdl.formats import several
from hpcdl.preflight import Report, Subject
from hpcdl.preflight.all_checks import check_all
from hpcdl.preflight.site_rules import partitions_of
from hpcdl.preflight.trial import TRIAL
from hpcdl.promises.folder import TestFolder, make, remove_earlier
from hpcdl.promises.jobs import TestJob, Wanted, prepare_jobs
from hpcdl.promises.judging import judge
from hpcdl.promises.names import NODE, Promise, jobs_of
from hpcdl.promises.outcome import Outcome
from hpcdl.promises.watching import SentJob, Watch

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GPU_WORDS = ("gpu", "gres", "tres")  # in what SLURM says to a job that asks for none


class SiteTest:
    """One test of a site.

    Args:
        cluster: the profile.
        promises: what is tried.
        folder: the test's, which is not made yet.
        say: tells people something.
    """

    def __init__(
        self,
        cluster: Cluster,
        promises: Sequence[Promise],
        folder: TestFolder,
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._promises = promises
        self._folder = folder
        self._say = say
        self._jobs: list[SentJob] = []
        self.was_left = False

    @property
    def sends_any(self) -> bool:
        """Whether there is a job that may be sent."""
        return any(not sent.unsent for sent in self._jobs)

    def prepare(self, wanted: Wanted) -> None:
        """Prepare the jobs and check them. Nothing is written to disk.

        Where SLURM takes no job without a GPU, each asks for one.

        Raises:
            UserError: they cost too much, or the cluster cannot do what is asked.
            SchedulerError: SLURM does not answer.
        """
        self._jobs = self._checked(wanted)
        if self._cluster.node.gpus and self._gives_whole_nodes():
            self._say("each job gets a whole node here, and so all of its GPUs")
            wanted = replace(wanted, whole_nodes=True)
            self._jobs = self._checked(wanted)
        others = [sent for sent in self._jobs if sent.job.name != NODE]
        if self._cluster.node.gpus and any(map(_lacks_gpu, others)):
            self._say("SLURM takes no job without a GPU here: each asks for one")
            self._jobs = self._checked(replace(wanted, gpus_each=1))

    def _gives_whole_nodes(self) -> bool:
        """Whether SLURM shares no node among jobs in the partition that they go to."""
        job = self._jobs[0].job
        subject = Subject(job.submission, job.cluster)
        try:
            return any(partition.exclusive for partition in partitions_of(subject))
        except SchedulerError:  # the jobs' checks say so
            return False

    def what_is_sent(self) -> list[str]:
        """The jobs, what they show, and what they can cost, as lines."""
        sends = [sent.job for sent in self._jobs if not sent.unsent]
        rows = []
        for job in sends:
            size = job.submission.plan.size
            parts = [f"{several(size.cpus, 'CPU')}", f"up to {size.time_limit_s // 60} min"]
            if size.gpus:
                parts.insert(0, several(size.gpus, "GPU"))
            names = [promise.name for promise in self._promises if job.name in promise.jobs]
            rows.append([f"  {job.name}", ", ".join(parts), ", ".join(names)])
        minutes = sum(job.gpu_minutes for job in sends)
        title = f"test of {self._cluster.name}: {several(len(sends), 'tiny job')}"
        title += " at the same time" if len(sends) > 1 else ""
        lines = [f"{title}, at most {minutes:g} GPU-minutes", *aligned(rows)]
        for sent in self._jobs:
            if sent.unsent:
                fix = f"; {sent.fix}" if sent.fix else ""
                lines.append(f"  {sent.job.name} cannot be sent: {sent.unsent}{fix}")
        return lines

    def run(self, wait_limit_s: float) -> Outcome:
        """Send the jobs and wait for their ends; Ctrl-C cancels them all.

        Args:
            wait_limit_s: how long a job may wait in the queue.

        Returns:
            what is known then.

        Raises:
            RunError: the test's folder cannot be made.
        """
        make(self._folder)
        for left in remove_earlier(self._folder, self._cluster):
            self._say(f"an earlier test stays, as it has not ended: {left}")
        watch = Watch(self._cluster, self._say, wait_limit_s, self._jobs)
        notes = []
        try:
            with _handled([signal.SIGHUP], _leave):  # the connection to the login node may break
                watch.send()
                watch.follow()
        except KeyboardInterrupt:
            self.was_left = True
            with _handled(_ENDS, signal.SIG_IGN):  # as in the commands that it starts
                watch.cancel_all()
            failed = [sent.job.name for sent in self._jobs if sent.uncancelled]
            self._say("\ncancelled all jobs of the test")
            if failed:
                self._say(f"but not: {', '.join(failed)}")
            notes.append("It was left early: what was not seen by then is not tried.")
        except BaseException:  # SIGTERM, too: nothing follows the jobs any more
            with _handled(_ENDS, signal.SIG_IGN):
                watch.cancel_all()
            raise
        evidence = watch.evidence()
        watch.end_what_is_left(evidence)
        verdicts = judge(self._promises, evidence, self._cluster, self.was_left)
        notes.append(f"Tried on {time.strftime('%Y-%m-%d %H:%M')} with {self._cluster.file}.")
        return Outcome(self._folder, self._cluster.name, verdicts, evidence, notes)

    def _checked(self, wanted: Wanted) -> list[SentJob]:
        names = jobs_of(self._promises)
        jobs = prepare_jobs(names, self._cluster, wanted, self._folder.root)
        return [_checked(job) for job in jobs]


@contextmanager
def _handled(numbers: Sequence[int], handler: signal._HANDLER) -> Iterator[None]:
    """Handle some signals another way for a while, except those that nohup has let be ignored."""
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _checked(job: TestJob) -> SentJob:
    """A job, and why it cannot be sent."""
    report: Report = check_all(Subject(job.submission, job.cluster))
    for name, finding in report.findings:
        if finding.blocks:
            own_key = f" (key of the profile: {finding.key})" if finding.source == "profile" else ""
            return SentJob(job, None, finding.cause, name, f"{finding.fix}{own_key}")
    for name, reason in report.skipped:
        if name == TRIAL:
            raise SchedulerError(f"SLURM does not say whether it takes these jobs: {reason}")
    return SentJob(job)


def _lacks_gpu(sent: SentJob) -> bool:
    """Whether SLURM refused a job because it asks for no GPU."""
    is_about_gpus = any(word in sent.unsent.lower() for word in _GPU_WORDS)
    return sent.check == TRIAL and is_about_gpus and not sent.job.submission.plan.size.gpus
