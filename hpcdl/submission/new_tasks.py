"""New tasks for a sweep that is on disk: how many, what they may cost, and sending them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median

from hpcdl.cluster.schema import Cluster
from hpcdl.run import records
from hpcdl.run.estimate import Estimate, p95
from hpcdl.run.usage import Request, request_of
from hpcdl.scheduler.arrays import ArrayLimits
from hpcdl.submission.again import followers_again, followers_gpu_hours
from hpcdl.submission.sweep_tasks import send_reserves, send_tasks
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.followers import Moved
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.spent import used_gpu_hours


@dataclass(frozen=True)
class NewTasks:
    """Tasks that are decided and not sent yet.

    Args:
        paths: the sweep's.
        trials: how many trials they are for.
        tasks: how many they are.
        at_once: how many of them may run at the same time.
        options: sbatch's, which come before those of the script.
        cluster: the profile; None to go by SLURM's limits alone.
    """

    paths: SweepPaths
    trials: int
    tasks: int
    at_once: int
    options: Sequence[str] = ()
    cluster: Cluster | None = None

    @property
    def in_slurm(self) -> bool:
        """Whether SLURM runs them, and not this machine."""
        return self.paths.run.script.exists()

    @property
    def request(self) -> Request:
        """What each of them asks for."""
        return request_of(records.plan(self.paths.run))

    def gpu_hours(self) -> float:
        """GPU-hours of all of them, if they take all their time and the sweep has as much left."""
        hours = self.tasks * self.request.reserved_gpu_hours
        settings = SweepSettings.read(self.paths)
        if settings.gpu_hours is None:
            return hours
        used = used_gpu_hours(settings, whole_state(self.paths), time.time())
        return min(hours, max(0.0, settings.gpu_hours - used))

    def trial_estimate(self) -> Estimate | None:
        """What one trial takes, by those of the sweep that are done; None if none is."""
        settings = SweepSettings.read(self.paths)
        seconds = []
        for trial in whole_state(self.paths).trials.values():
            if trial.state == "done":
                seconds.append(trial.seconds)
        if not seconds:
            return None
        usual_s = median(seconds)
        gpu_hours = usual_s * self.request.all_gpus / settings.trials_per_gpu / 3600
        return Estimate(usual_s, p95(seconds), gpu_hours, len(seconds))

    def limits(self) -> ArrayLimits:
        """What SLURM and the site let the user submit and run now."""
        from hpcdl.scheduler.limits import array_limits

        directives = records.plan(self.paths.run).get("directives", ())
        return array_limits(directives, self.cluster or Cluster(name=""))

    def within_budget(self) -> AbstractContextManager[None]:
        """Let them be sent only within the profile's budget of GPU-hours.

        Raises:
            UserError: on entering: they would exceed it.
        """
        if not self.in_slurm or self.cluster is None or self.cluster.budget_gpu_hours is None:
            return nullcontext()
        from hpcdl.submission.gpu_budget import within_budget

        asked = self.gpu_hours() + followers_gpu_hours(self.paths.run)
        return within_budget(self.cluster, self.paths.root.parent.parent, asked)

    def send(self) -> list[Moved]:
        """Send them, and where SLURM requeues none, those that go on with unfinished trials.

        Returns:
            the runs that come after the sweep: they wait for these tasks, too.

        Raises:
            SchedulerError: SLURM refused them, or allows none now.
        """
        sent = send_tasks(self.paths, self.tasks, self.at_once, self.options, self.cluster)
        send_reserves(self.paths, sent, self.at_once, self.cluster)
        return followers_again(self.paths.run)
