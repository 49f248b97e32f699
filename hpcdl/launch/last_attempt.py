"""Writes how the last attempt ended, if it could not: launch was killed, or its node died."""

from __future__ import annotations

import time

from hpcdl.launch import own_jobs
from hpcdl.launch.attempt_state import Attempt
from hpcdl.run import causes, states
from hpcdl.run.logs import slurms_words
from hpcdl.run.paths import RunPaths


def settle_last_attempt(this: Attempt) -> str | None:
    """Write how the last attempt ended if it could not: launch was killed, or its node died.

    Returns:
        why it ended, if only SLURM could tell.
    """
    if not this.events:
        return None
    was_resumed = this.events[-1].event == states.RESUMED
    attempts = [event for event in this.events if event.event != states.RESUMED]
    if not attempts or (attempts[-1].reason or states.TERMINATED) != states.TERMINATED:
        return None
    last = attempts[-1]
    reason = _reason_in_slurm(this.paths, last.job_id)
    if last.is_start or reason is not None:
        steps, images = this.progress()
        node = last.node
        if last.nodes and reason == states.NODE_FAILURE:
            words = slurms_words(this.paths, last.job_id or "")
            node = own_jobs.down_node(last.nodes, words)  # the first of them may be well
        this.write_event(
            {
                "event": states.END,
                "attempt": last.attempt,
                "job_id": last.job_id,
                "node": node,
                **({"nodes": list(last.nodes)} if last.nodes else {}),
                "from_step": last.from_step,
                "from_images": last.from_images,
                "status": last.status,
                "seconds": last.seconds,
                "reason": reason or states.KILLED,
                "steps": steps,
                "images": images,
                "time": time.time(),
            }
        )
    return None if was_resumed else reason


def _reason_in_slurm(paths: RunPaths, job_id: str | None) -> str | None:
    """Why SLURM ended a job's last attempt; None if it did not, or cannot tell."""
    if job_id is None:
        return None
    output = slurms_words(paths, job_id)
    word = causes.slurm_state_of_words(output) or own_jobs.last_state(job_id)
    reason = causes.reason_of_slurm_state(word)
    if reason == states.REQUEUED and states.OWN_REQUEUE in output:
        return states.KILLED  # launch itself was, and so the batch script asked for the requeue
    return reason
