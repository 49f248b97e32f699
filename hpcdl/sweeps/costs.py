"""What several runs and sweeps cost: by their files, and by one question to SLURM's accounting."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hpcdl.errors import RunError, SchedulerError
from hpcdl.run import states
from hpcdl.run.cost import Cost, Ending, cost_of
from hpcdl.run.device_summary import measured
from hpcdl.run.handle import Run
from hpcdl.run.paths import TrialPaths
from hpcdl.run.usage import Request, Usage, is_waiting_or_running, usage
from hpcdl.scheduler.accounting import JobRecord, job_records, records_by_job
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.sweeps.folder import SweepPaths

_OF_TRIAL = "a task runs several trials; hpcdl cost SWEEP shows all of them"


@dataclass(frozen=True)
class RunCost:
    """A run or sweep, its state, and what it cost.

    Args:
        run: the run.
        state: its state.
        usage: what it has occupied.
        cost: what that cost.
        devices: what was measured of its devices, by the keys of `hpcdl.run.device_summary`; empty
            for a sweep.
    """

    run: Run
    state: str
    usage: Usage
    cost: Cost
    devices: Mapping[str, float] = field(default_factory=dict)

    @property
    def job(self) -> str:
        """The name of its job."""
        paths = self.run.paths
        folder = paths.sweep.root if isinstance(paths, TrialPaths) else paths.root
        return folder.parent.name


def costs_of(runs: Sequence[Run], ask: bool = True) -> list[RunCost]:
    """What runs cost.

    Args:
        runs: the runs.
        ask: whether SLURM is asked.
    """
    now = time.time()
    entries = []
    damages = {}
    for run in runs:
        try:
            ending, used = _usage(run, ask, now)
        except (RunError, OSError) as error:
            ending, used = Ending(states.UNKNOWN), Usage(Request())
            damages[run.name] = f"nothing is counted of {run.name}: {error}"
        entries.append((run, ending, used))
    answers = _Accounting(entries if ask else [])
    costs = []
    for run, ending, used in entries:
        why = _OF_TRIAL if isinstance(run.paths, TrialPaths) else answers.why
        cost = cost_of(used, answers.attempts(run, used), ending, why)
        if run.name in damages:
            cost = replace(cost, unknown=(*cost.unknown, damages[run.name]))
        costs.append(RunCost(run, ending.state, used, cost, measured(run.paths)))
    return costs


def _usage(run: Run, ask: bool, now: float) -> tuple[Ending, Usage]:
    """How a run, a sweep or a trial stands, and what it has occupied.

    Raises:
        RunError: a sweep's folder is damaged.
        OSError: it cannot be read.
    """
    paths = run.paths
    sweep = SweepPaths(paths.root)
    if sweep.sweep.exists():
        from hpcdl.sweeps.usage import sweep_usage  # plain runs do without

        of_sweep = sweep_usage(sweep, now)
        return Ending(of_sweep.state), of_sweep.usage
    status = run.status(ask=ask)
    used = usage(paths, not is_waiting_or_running(status.state), now)
    if isinstance(paths, TrialPaths):
        from hpcdl.sweeps.settings import SweepSettings

        settings = SweepSettings.read(SweepPaths(paths.sweep.root))
        share = 1 / settings.trials_per_gpu
        used = replace(used, job_ids=[], queue_s=None, share=share)
    return Ending(status.state, status.cause), used


class _Accounting:
    """What SLURM's accounting tells of runs: one question for each of a site's clusters.

    Args:
        entries: the runs, with how they stand and their usage.
    """

    def __init__(self, entries: Sequence[tuple[Run, Ending, Usage]]) -> None:
        self.why = ""
        self._answers: dict[str | None, dict[str, list[JobRecord]]] = {}
        sent: dict[str | None, list[Usage]] = {}
        for run, _, used in entries:
            if used.job_ids:
                sent.setdefault(run.slurm_cluster(), []).append(used)
        for cluster, usages in sent.items():
            self._ask(cluster, usages)

    def _ask(self, cluster: str | None, usages: Sequence[Usage]) -> None:
        job_ids = [job_id for used in usages for job_id in used.job_ids]
        oldest = min(used.sent for used in usages)
        try:
            with on_cluster(cluster):
                self._answers[cluster] = records_by_job(job_records(job_ids, oldest))
        except SchedulerError as error:
            self.why = str(error)

    def attempts(self, run: Run, used: Usage) -> list[JobRecord] | None:
        """A run's attempts, in the order of its jobs; None if there is no answer."""
        if not used.job_ids:
            return None
        by_job = self._answers.get(run.slurm_cluster())
        if by_job is None:
            return None
        attempts = []
        for job_id in used.job_ids:
            attempts += by_job.get(job_id, [])
        return attempts
