"""Which of a sweep's tasks have ended for good, by SLURM's word or this machine's processes."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from hpcdl.errors import UserError
from hpcdl.run import records
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.living_tasks import workers_here
from hpcdl.sweeps.submitted import SweepSubmitted


@dataclass(frozen=True)
class Tasks:
    """A sweep's tasks, as SLURM or this machine knows them.

    Args:
        living: the ids of those that wait or run: ``123_4``, ``local_0``.
        sent: the arrays that were sent before that was asked; of other tasks nothing is known.
    """

    living: frozenset[str]
    sent: frozenset[str]

    def has_ended(self, key: str) -> bool:
        """Whether a task has ended for good.

        Args:
            key: the task's, with its slot's number if it has slots.
        """
        task = key.partition(".")[0]
        return task.partition("_")[0] in self.sent and task not in self.living


def tasks_of(paths: SweepPaths) -> Tasks:
    """A sweep's tasks as they are now.

    Raises:
        UserError: they run on another machine.
        SchedulerError: SLURM did not answer.
    """
    submitted = SweepSubmitted.read(paths)
    if submitted is None:
        return Tasks(frozenset(), frozenset())
    if submitted.backend == "local":
        for array in submitted.arrays:
            if array.host not in (None, socket.gethostname()):
                message = f"{paths.root} was started on {array.host}, which alone knows its workers"
                raise UserError(f"{message}; run hpcdl there")
        return Tasks(frozenset(workers_here(submitted)), frozenset(["local"]))
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import cluster_of, on_cluster

    sent = frozenset(submitted.job_ids)
    with on_cluster(cluster_of(records.plan(paths.run))):
        living = [task for task in slurm.living_tasks() if task.partition("_")[0] in sent]
    return Tasks(frozenset(living), sent)
