"""One run of the program, on one node or several: its watchers, and what is known of its end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hpcdl.files import read_json
from hpcdl.launch.deadline import Deadline
from hpcdl.launch.served import ServedTrials
from hpcdl.launch.stall import Judge
from hpcdl.launch.stop_signal import StopSignal
from hpcdl.launch.task import TaskContext
from hpcdl.launch.watchers import KillWatcher, RemovedWatcher, Watcher
from hpcdl.planning import Plan
from hpcdl.run import states
from hpcdl.run.causes import Ending
from hpcdl.run.paths import RunPaths


@dataclass(frozen=True)
class ProgramRun:
    """One run of the program.

    Args:
        paths: the run.
        plan: its plan.
        attempt: the attempt's number, from 1.
        job_id: SLURM's id of the job that this is; None on a machine without SLURM.
        deadline: the time limit.
        task: the sweep's task that runs it; None for a run of its own.
        workers: the variables that tell one of several workers of the others.
        judge: decides whether a program that stands still is ended; None if it is the only one.
    """

    paths: RunPaths
    plan: Plan
    attempt: int
    job_id: str | None
    deadline: Deadline
    task: TaskContext | None = None
    workers: Mapping[str, str] = field(default_factory=dict)
    judge: Judge | None = None

    @property
    def in_slurm(self) -> bool:
        """Whether SLURM may end it."""
        return self.job_id is not None

    @property
    def served(self) -> ServedTrials | None:
        """What starts a trial where TensorFlow is imported already; None for a fresh process."""
        return self.task.served if self.task is not None else None

    @property
    def plan_here(self) -> Plan:
        """The plan, with one node if that is all: of a range SLURM may give one."""
        if self.workers:
            return self.plan
        return replace(self.plan, size=replace(self.plan.size, nodes=1))

    def watchers(self, with_signal: bool = True) -> list[Watcher]:
        """What looks after the program while it runs; the deadline first.

        Args:
            with_signal: whether it runs on this node, so that it can be sent its stop signal.
        """
        watchers: list[Watcher] = [
            self.deadline,
            KillWatcher(self.paths, self.deadline),
            RemovedWatcher(self.paths),
        ]
        if with_signal:
            watchers.insert(1, StopSignal(self.plan, self.paths.stop))
        if self.task is not None:
            watchers += self.task.watchers
        return watchers


def known_here(this: ProgramRun, status: int) -> Ending:
    """What this node knows of a program's end, whichever node it ran on.

    Args:
        this: the program's run.
        status: its exit status.
    """
    paths, plan, deadline = this.paths, this.plan, this.deadline
    deadline.note_end(time.time())
    return Ending(
        status=status,
        script=not plan.program.keeps_state,
        command=plan.program.on_host,
        in_slurm=this.in_slurm,
        gpus=plan.size.gpus,
        overtime=deadline.overtime,
        asked_to_stop=os.path.exists(paths.stop),
        near_the_end=deadline.near_the_end(plan.policy.signal_lead_s, time.time()),
        stop_reason=_stop_reason(paths),
    )


def _stop_reason(paths: RunPaths) -> str | None:
    """Why a sweep has asked its trial to stop; None if the stop file gives no such reason."""
    reason = (read_json(paths.stop) or {}).get("reason")
    return reason if reason in (states.PRUNED, states.NO_METRIC) else None
