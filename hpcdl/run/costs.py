"""What several runs cost: by their files, and by one question to SLURM's accounting."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl.errors import SchedulerError
from hpcdl.run.cost import Cost, Ending, cost_of
from hpcdl.run.handle import Run
from hpcdl.run.usage import Usage, is_waiting_or_running, usage
from hpcdl.scheduler.accounting import JobRecord, job_records, records_by_job
from hpcdl.scheduler.clusters import on_cluster


@dataclass(frozen=True)
class RunCost:
    """A run, its state, and what it cost."""

    run: Run
    state: str
    usage: Usage
    cost: Cost

    @property
    def job(self) -> str:
        """The name of its job."""
        return self.run.paths.root.parent.name


def costs_of(runs: Sequence[Run], ask: bool = True) -> list[RunCost]:
    """What runs cost.

    Args:
        runs: the runs.
        ask: whether SLURM is asked.
    """
    now = time.time()
    entries = []
    for run in runs:
        status = run.status(ask=ask)
        used = usage(run.paths, not is_waiting_or_running(status.state), now)
        entries.append((run, Ending(status.state, status.cause), used))
    answers = _Accounting(entries if ask else [])
    costs = []
    for run, ending, used in entries:
        cost = cost_of(used, answers.attempts(run, used), ending, answers.why)
        costs.append(RunCost(run, ending.state, used, cost))
    return costs


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
