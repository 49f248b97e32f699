"""One attempt of a run, from its first line in attempts.jsonl to its exit status."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from hpcdl.errors import SchedulerError
from hpcdl.launch import node_checks, own_jobs
from hpcdl.launch.attempt_end import conclude
from hpcdl.launch.attempt_state import Attempt, events_so_far
from hpcdl.launch.command import read_plan
from hpcdl.launch.deadline import Deadline
from hpcdl.launch.ended import Ended, run_on_nodes, unfit
from hpcdl.launch.last_attempt import settle_last_attempt
from hpcdl.launch.notify import notify_of_old_end
from hpcdl.launch.process import run_program
from hpcdl.launch.program_run import ProgramRun
from hpcdl.launch.retry import keep_trying, say
from hpcdl.launch.stall import append_lines
from hpcdl.launch.task import TaskContext
from hpcdl.planning import Plan
from hpcdl.run import causes, states
from hpcdl.run.causes import Outcome
from hpcdl.run.next_step import hopeless
from hpcdl.run.paths import RunPaths
from hpcdl.run.process_start import process_start
from hpcdl.run.result import Result
from hpcdl.run.tidying import forget_page
from hpcdl.scheduler import slurm
from hpcdl.scheduler.host_list import expand


def attempt(paths: RunPaths, job_id: str | None, task: TaskContext | None = None) -> int:
    """Run one attempt.

    Args:
        paths: the run.
        job_id: SLURM's id of the job that this is; None on a machine without SLURM.
        task: the sweep's task that runs it; None for a run that has its own job.

    Returns:
        the status to end with: 75 if the run needs another attempt.

    Raises:
        OutOfPatienceError: the run folder cannot be read or written.
        RunRemovedError: it was removed.
    """
    plan = keep_trying("plan.json", lambda: read_plan(paths), paths)
    why_over = already_over(paths, plan)
    if why_over:
        say(f"{why_over}; nothing is started")
        notify_of_old_end(paths, plan)
        return 0
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    events = keep_trying("attempts.jsonl", lambda: events_so_far(paths), paths)
    this = Attempt(paths, plan, job_id, node, events, task)
    if job_id is not None and task is None and plan.size.nodes > 1:
        _find_nodes(this)
    was_cancelled = settle_last_attempt(this) == states.CANCELLED
    if was_cancelled and not plan.policy.requeue and task is None:
        say("the last job of this run was cancelled, and so is the run; nothing is started")
        keep_trying("the marker", paths.cancelled.touch, paths)
        own_jobs.cancel_rest(paths)
        return 0
    failed = own_jobs.failed_nodes(this.ends)
    if {node, *this.nodes}.intersection(failed) and this.leaves_node():
        return this.status_of_left_job()
    ended = run_once(this)
    return conclude(this, ended)


def _find_nodes(this: Attempt) -> None:
    """Learn which nodes SLURM gave the job: of a range it may be one."""
    try:
        this.nodes = expand(os.environ.get("SLURM_JOB_NODELIST", this.node))
    except SchedulerError as error:
        this.fault = str(error)


def already_over(paths: RunPaths, plan: Plan) -> str | None:
    """Why there is nothing to do; None if there is something.

    Jobs of a chain, and jobs that somebody requeued, may start when the run has ended.
    """
    if paths.is_cancelled():
        return "this run was cancelled"
    result = Result.read(paths)
    if result is None or not result.is_complete:
        return None
    ended_badly = result.state in (states.FAILED, states.CANCELLED)
    if result.state == states.DONE or (ended_badly and not plan.policy.requeue):
        return f"this run is {result.state}"
    return None


def run_once(this: Attempt) -> Ended:
    """Start the attempt and run the program to its end; write down both."""
    started = time.time()
    from_step, from_images = this.progress()
    line: dict[str, Any] = {
        "attempt": this.number + 1,
        "job_id": this.job_id,
        "node": this.node,
        "from_step": from_step,
        "from_images": from_images,
    }
    if this.nodes:
        line["nodes"] = list(this.nodes)
    pid = os.getpid()
    forget_page(this.paths)  # its node may have died
    process = {"pid": pid, "pid_start": process_start(pid), "host": socket.gethostname()}
    this.write_event({**line, **process, "event": states.START, "time": started})
    _remove_old_endings(this.paths)
    say(f"attempt {this.number} of {this.paths.root} on {', '.join(this.nodes) or this.node}")
    ended = _run_program(this)
    forget_page(this.paths)
    leaves_node = ended.outcome.state in states.LEAVES_NODE or ended.outcome.cause == "device"
    if ended.node is not None and leaves_node:  # for a device, hpcdl retry leaves it
        line["node"] = ended.node
    steps, images = this.progress()
    line.update(
        status=ended.status,
        reason=ended.outcome.state,
        steps=steps,
        images=images,
        peak_memory_gb=ended.peak_memory_gb,
        seconds=round(time.time() - started, 3),
    )
    this.write_event({**line, "event": states.END, "time": time.time()})
    return ended


def _remove_old_endings(paths: RunPaths) -> None:
    """Remove what earlier attempts wrote about their end, but not the trainer's own "done"."""
    keep_trying("failure.json", lambda: paths.failure.unlink(missing_ok=True), paths)
    result = Result.read(paths)
    if result is None or result.state != states.DONE:
        keep_trying("result.json", lambda: paths.result.unlink(missing_ok=True), paths)


def _run_program(this: Attempt) -> Ended:
    """Run the program, unless it would be in vain here."""
    paths, plan = this.paths, this.plan
    in_slurm = this.job_id is not None
    if not this.ends:
        too_early = own_jobs.too_early(paths)
        if too_early:
            return Ended(1, Outcome(states.CANCELLED, states.DEPENDENCY, too_early))
    stuck = hopeless(this.ends)
    if stuck:
        return Ended(1, stuck)
    if this.fault:
        append_lines(paths.log(this.number), [f"error: {this.fault}"])
        return Ended(1, Outcome(states.FAILED, "internal", this.fault))
    end_time = time.time() + plan.size.time_limit_s
    if this.task is not None:
        end_time = min(end_time, this.task.end_time)
    elif this.job_id is not None:  # SLURM knows it better, but it may not answer
        end_time = slurm.end_time(this.job_id) or end_time
    deadline = Deadline(paths, end_time, plan.policy.stop_margin_s, kills=not in_slurm)
    program = ProgramRun(paths, plan, this.number, this.job_id, deadline, this.task)
    if len(this.nodes) > 1:
        return run_on_nodes(program, this.nodes)  # its members look at their nodes
    faults = node_checks.faults(paths, plan, in_slurm)
    if faults:
        return unfit(program, this.node, faults)
    ending = run_program(program)
    return Ended(ending.status, causes.of_ending(ending), ending.peak_memory_gb)
