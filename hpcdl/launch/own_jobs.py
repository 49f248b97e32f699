"""What launch asks of SLURM for its own run: how its last job ended, the other jobs of a chain, another node."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from hpcdl.errors import SchedulerError
from hpcdl.files import read_json, write_json
from hpcdl.launch.retry import say
from hpcdl.planning import Plan
from hpcdl.run import causes, records
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import attempt_ends
from hpcdl.scheduler import slurm


def last_state(job_id: str) -> str:
    """SLURM's word for how the job's last attempt ended; empty where it has none."""
    with suppress(SchedulerError):
        past = slurm.past_states(job_id)
        return past[-1] if past else ""
    return ""


def jobs_left(paths: RunPaths, job_id: str) -> int:
    """How many jobs of the run's chain come after this one. While they are being submitted: at least one."""
    job_ids = (read_json(paths.submitted) or {}).get("job_ids", [])
    return len(job_ids) - 1 - job_ids.index(job_id) if job_id in job_ids else 1


def cancel_rest(paths: RunPaths) -> None:
    """Take the chain's other jobs out of the queue; where that fails, each leaves at once when it starts."""
    others = (read_json(paths.submitted) or {}).get("job_ids", [])[1:]
    with suppress(SchedulerError):
        if others:
            slurm.scancel(*others, pending=True)


def failed_nodes(paths: RunPaths) -> list[str]:
    """The nodes that failed under this run, or were not fit for it, since it was last resumed by hand."""
    ends = attempt_ends(records.attempts(paths))
    return sorted(
        {row["node"] for row in ends if row.get("reason") in causes.LEFT and row.get("node")}
    )


def move_away(paths: RunPaths, plan: Plan, job_id: str) -> bool:
    """Leave a node that has failed under this run before. A running job cannot change its nodes.

    Where jobs are requeued another job takes this one's place; in a chain the next one does.

    Returns:
        Whether this job is to end now. False where nothing can be done: then it stays.
    """
    avoid = failed_nodes(paths)
    submitted: dict[str, Any] = read_json(paths.submitted) or {}
    try:
        if not plan.requeue:
            job_ids = submitted.get("job_ids", [])
            later = job_ids[job_ids.index(job_id) + 1 :] if job_id in job_ids else []
            nodes = slurm.with_own_excluded({"directives": plan.directives}, avoid)
            for other in later:
                slurm.exclude(other, nodes)
            moved = bool(later)
        else:
            from hpcdl.launch import launch
            from hpcdl.worker.executors import SlurmScriptExecutor

            executor = SlurmScriptExecutor(paths.submitit, paths.script, exclude=avoid, moved=True)
            job = executor.submit(launch, str(paths.root))
            write_json(
                paths.submitted,
                {**submitted, "job_id": job.job_id, "job_ids": [job.job_id], "sent": time.time()},
            )
            moved = True
    except (SchedulerError, OSError) as error:
        say(f"this run's last node, {', '.join(avoid)}, failed, and it cannot be left: {error}")
        return False
    if moved:
        say(f"not on {', '.join(avoid)} again, which failed under this run: it goes on elsewhere")
    return moved
