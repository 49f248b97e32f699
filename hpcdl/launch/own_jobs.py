"""What launch asks SLURM about its own run's jobs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from hpcdl.errors import SchedulerError
from hpcdl.launch.retry import say
from hpcdl.planning import Plan
from hpcdl.run import states
from hpcdl.run.after import missed
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent, Submitted
from hpcdl.scheduler import slurm
from hpcdl.scheduler.excluded_nodes import with_own_excluded
from hpcdl.scheduler.host_list import expand
from hpcdl.sweeps.before import missed_sweeps
from hpcdl.sweeps.followers import move_followers

_SEEN_LATE_S = 90.0  # NFS shows a new file of another node after a minute at most
_LOOK_S = 2.0
_FAILED = re.compile(r"^srun: error: Node failure on (\S+)", re.MULTILINE)


def last_state(job_id: str) -> str:
    """SLURM's word for how the job's last attempt ended; empty if it has none."""
    with suppress(SchedulerError):
        past = slurm.past_states(job_id)
        return past[-1] if past else ""
    return ""


def too_early(paths: RunPaths) -> str:
    """Why the run must not start: a run or sweep that it comes after is not done. Empty if it may.

    SLURM has seen to it, but it cannot tell how a chain of jobs or a sweep ended. A run's end may
    not be seen on this node at once.
    """
    deadline = time.monotonic() + _SEEN_LATE_S
    while True:
        before = [*missed(paths), *missed_sweeps(paths)]
        has_ended = all(run.state is not None for run in before)
        if has_ended or time.monotonic() > deadline:
            return "; ".join(str(run) for run in before)
        time.sleep(_LOOK_S)


def jobs_left(paths: RunPaths, job_id: str) -> int:
    """How many jobs of the run's chain come after this one.

    While the chain is being submitted, this job may not be written down yet: then the answer is 1.
    """
    job_ids = _job_ids(paths)
    if job_id not in job_ids:
        return 1
    return len(job_ids) - 1 - job_ids.index(job_id)


def cancel_rest(paths: RunPaths) -> None:
    """Cancel the chain's other jobs; if that fails, each ends as soon as it starts."""
    others = _job_ids(paths)[1:]
    with suppress(SchedulerError):
        if others:
            slurm.scancel(*others, pending=True)


def down_node(nodes: Sequence[str], output: str) -> str | None:
    """The first of some nodes that srun says has failed, or that is out of service now.

    Args:
        nodes: of a job that ended because one of them failed.
        output: of the batch script. A node may be in service again when the job goes on.

    Returns:
        the node; None if neither tells.
    """
    with suppress(SchedulerError):
        for failed in _FAILED.findall(output):
            for node in expand(failed):
                if node in nodes:
                    return node
        down = slurm.nodes_down(nodes)
        return down[0] if down else None
    return None


def failed_nodes(ends: Sequence[AttemptEvent]) -> list[str]:
    """The nodes that failed under this run, or were not fit for it.

    Args:
        ends: the ends of attempts since the run was last resumed by hand.
    """
    nodes = set()
    for end in ends:
        if end.reason in states.LEAVES_NODE and end.node:
            nodes.add(end.node)
    return sorted(nodes)


def move_away(paths: RunPaths, plan: Plan, job_id: str, avoid: Sequence[str]) -> bool:
    """Leave a node that has failed under this run before. A running job cannot change its nodes.

    If jobs are requeued, another job takes this one's place; in a chain the next one does.

    Args:
        paths: the run.
        plan: its plan.
        job_id: this job.
        avoid: the nodes that failed.

    Returns:
        Whether this job is to end now. False if nothing can be done: then it stays.
    """
    nodes = ", ".join(avoid)
    try:
        if plan.policy.requeue:
            _send_another(paths, avoid)
            has_moved = True
        else:
            has_moved = _keep_chain_away(paths, plan, job_id, avoid)
    except (SchedulerError, OSError) as error:
        say(f"this run's last node, {nodes}, failed, and it cannot be left: {error}")
        return False
    if has_moved:
        say(f"not on {nodes} again, which failed under this run: it goes on elsewhere")
    return has_moved


def _keep_chain_away(paths: RunPaths, plan: Plan, job_id: str, avoid: Sequence[str]) -> bool:
    """Keep the later jobs of a chain away from some nodes; whether there are any.

    Raises:
        SchedulerError: SLURM did not take it.
    """
    job_ids = _job_ids(paths)
    if job_id not in job_ids:
        return False
    later_ids = job_ids[job_ids.index(job_id) + 1 :]
    nodes = with_own_excluded({"directives": plan.directives}, avoid)
    for later_id in later_ids:
        slurm.exclude(later_id, nodes)
    return bool(later_ids)


def _send_another(paths: RunPaths, avoid: Sequence[str]) -> None:
    """Send another job in this one's place, and write down its id.

    Raises:
        SchedulerError: SLURM did not take it.
        OSError: it cannot be written down.
    """
    from hpcdl.launch import launch
    from hpcdl.worker.executors import SlurmScriptExecutor

    submitted = Submitted.read(paths) or Submitted()
    executor = SlurmScriptExecutor(paths.submitit, paths.script, exclude=avoid, moved=True)
    job_id = executor.submit(launch, str(paths.root)).job_id
    replace(submitted, job_id=job_id, job_ids=[job_id], sent=time.time()).write(paths)
    move_followers(paths)  # else those that wait would take this job's end for the run's


def _job_ids(paths: RunPaths) -> list[str]:
    """SLURM's ids of the run's jobs, as far as they are written down."""
    submitted = Submitted.read(paths)
    return [] if submitted is None else list(submitted.job_ids)
