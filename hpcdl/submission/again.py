"""Sends a run again that has ended: the same folder, the same batch script, the next attempt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hpcdl.errors import HpcdlError, SchedulerError, UserError
from hpcdl.files import append_json_line, write_json
from hpcdl.run import Run, records, states
from hpcdl.run.paths import RunPaths, sweep_of
from hpcdl.run.records import AttemptEvent, Submitted
from hpcdl.run.result import result_as_written
from hpcdl.run.state import Status
from hpcdl.run.usage import request_of
from hpcdl.submission.send import send_run
from hpcdl.sweeps.followers import (
    Moved,
    cancelled_followers,
    move_followers,
    sbatch_options,
)
from hpcdl.text import hpcdl_command


@dataclass(frozen=True)
class Changes:
    """What is otherwise the next time.

    Args:
        avoid: nodes that the job must not run on, besides those of its ``slurm: {exclude: ...}``.
        options: sbatch's options for this time and all later ones; None for those of last time.
    """

    avoid: Sequence[str] = ()
    options: Sequence[str] | None = None


def resume(run: Run) -> list[Moved]:
    """Send a run again that has ended too early. A node that failed under it is avoided.

    It goes on from its last checkpoint, with new budgets.

    Returns:
        the runs that come after it: they wait for its new job.

    Raises:
        UserError: it is done, cancelled, or has not ended.
        SchedulerError: SLURM refused it.
    """
    run.require_owner("resume")
    if sweep_of(run.paths) is not None:
        retry = hpcdl_command("retry", run.paths.root)
        raise UserError(f"{run.name} is a sweep's: {retry} sends it again")
    status = run.status()
    if status.state not in (states.CREATED, states.FAILED, states.LOST, states.UNKNOWN):
        reason = f"it is {status.state}"
        if status.state == states.CANCELLED:
            reason = "cancelling is final; submit it again"
        raise UserError(f"{run.name} cannot be resumed: {reason}")
    return send_again(run, status, Changes(nodes_to_avoid(run, status)))


def nodes_to_avoid(run: Run, status: Status) -> list[str]:
    """The nodes that failed under a run, were not fit for it, or were avoided before."""
    events = records.read_attempts(run.paths)
    avoid = _nodes(events, states.NODE_FAILURE)
    unfit = _nodes(events, states.UNFIT)
    if len(unfit) == 1:  # if several lacked something, the fault was not the nodes'
        avoid |= unfit
    if status.cause == "node_failure" and status.node:
        avoid.add(status.node)
    for event in events:
        avoid |= set(event.avoid)
    return sorted(avoid)


def _nodes(events: Sequence[AttemptEvent], reason: str) -> set[str]:
    """The nodes on which attempts ended for a reason."""
    return {event.node for event in events if event.reason == reason and event.node}


def gpu_hours_again(run: Run) -> float:
    """GPU-hours of a run that is sent again, and of those after it that are sent with it."""
    return request_of(records.plan(run.paths)).reserved_gpu_hours + followers_gpu_hours(run.paths)


def followers_gpu_hours(paths: RunPaths) -> float:
    """GPU-hours of the runs that are sent again with one: they were cancelled because of it.

    Args:
        paths: of the run or sweep that they come after.
    """
    return sum(gpu_hours_again(follower) for follower in cancelled_followers(paths))


def send_again(run: Run, status: Status, changes: Changes) -> list[Moved]:
    """Send a run again, whatever its state. The caller has made sure that it has ended.

    Runs that come after it wait for its new job. Those that SLURM had cancelled because it failed
    are sent again as well.

    Returns:
        these runs.

    Raises:
        UserError: a run that it comes after has failed.
        SchedulerError: SLURM refused it; then the run is as it was before.
    """
    paths = run.paths
    sbatch_options(paths)  # refuses before anything is changed
    was_cancelled = paths.cancelled.exists()
    last = records.read_attempts(paths)[-1:]
    result = result_as_written(paths)
    resumed = {"event": states.RESUMED, "cause": status.cause, "avoid": list(changes.avoid)}
    append_json_line(paths.attempts, {**resumed, "time": time.time()})
    paths.result.unlink(missing_ok=True)
    paths.stop.unlink(missing_ok=True)
    paths.cancelled.unlink(missing_ok=True)
    options = changes.options
    if options is None:
        options = (Submitted.read(paths) or Submitted()).options or ()
    try:
        send_run(paths, changes.avoid, options)
    except SchedulerError:
        if was_cancelled:
            paths.cancelled.touch()
        if result is not None and last and last[0].is_end:
            # So the run still says why it ended
            with suppress(OSError):
                write_json(paths.result, result)
                end = {"event": states.END, "attempt": last[0].attempt, "node": last[0].node}
                end |= {"job_id": last[0].job_id, "reason": last[0].reason}
                append_json_line(paths.attempts, {**end, "time": time.time()})
        raise
    return followers_again(paths)


def followers_again(paths: RunPaths) -> list[Moved]:
    """Move the dependency of the runs that come after one; send those again that were cancelled.

    Args:
        paths: of the run or sweep that has new jobs.
    """
    moved: list[Moved] = []
    for follower in move_followers(paths):
        if not follower.was_cancelled:
            moved.append(follower)
            continue
        try:
            after_it = send_again(follower.run, follower.run.status(), Changes())
            moved += [follower, *after_it]
        except HpcdlError as error:
            moved.append(replace(follower, error=str(error)))
    return moved
