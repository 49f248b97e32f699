"""One attempt of a run, from its first line in attempts.jsonl to its exit status."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.errors import SchedulerError
from hpcdl.files import append_json_line
from hpcdl.launch import node_checks, own_jobs
from hpcdl.launch.command import read_plan
from hpcdl.launch.deadline import Deadline
from hpcdl.launch.ended import Ended, run_on_nodes, unfit
from hpcdl.launch.notify import notify_end, notify_of_old_end
from hpcdl.launch.process import ProgramRun, run_program
from hpcdl.launch.result import finish
from hpcdl.launch.retry import keep_trying, say
from hpcdl.launch.stall import append_lines
from hpcdl.launch.task import TaskContext, require_own
from hpcdl.launch.trial_end import end_keys, judged
from hpcdl.planning import Plan
from hpcdl.run import causes, records, states
from hpcdl.run.causes import Outcome
from hpcdl.run.logs import slurms_words
from hpcdl.run.next_step import hopeless, next_step
from hpcdl.run.paths import RunPaths
from hpcdl.run.process_start import process_start
from hpcdl.run.records import AttemptEvent, Heartbeat
from hpcdl.run.result import Result
from hpcdl.run.tidying import forget_page
from hpcdl.scheduler import slurm
from hpcdl.scheduler.host_list import expand
from hpcdl.sweeps.objective import objective_of


@dataclass
class Attempt:
    """One attempt, while it goes on.

    Args:
        paths: the run.
        plan: its plan.
        job_id: SLURM's id of the job that this is; None on a machine without SLURM.
        node: this node's name.
        events: the lines of attempts.jsonl, with those that this attempt has written.
        task: the sweep's task that runs it; None for a run that has its own job.
        nodes: the names of the nodes of the job, by rank, if it may have several.
        fault: why these are not known; empty if they are.
    """

    paths: RunPaths
    plan: Plan
    job_id: str | None
    node: str
    events: list[AttemptEvent]
    task: TaskContext | None = None
    nodes: Sequence[str] = ()
    fault: str = ""

    @property
    def number(self) -> int:
        """The number of the attempt that started last: this one's, once it has started."""
        return records.attempts_started(self.events)

    @property
    def ends(self) -> list[AttemptEvent]:
        """How the attempts ended, since the run was last resumed by hand."""
        return records.attempt_ends(self.events)

    def progress(self) -> tuple[int | None, int]:
        """The newest checkpoint's step, and of how many images the features are saved."""
        return saved_step(self.paths, self.plan), saved_images(self.paths)

    def write_event(self, line: dict[str, Any]) -> None:
        """Add a line to attempts.jsonl."""

        def append() -> None:
            append_json_line(self.paths.attempts, line)

        keep_trying("attempts.jsonl", append, self.paths)
        event = records.attempt_event(line, self.number)
        if event is not None:
            self.events.append(event)

    def leaves_node(self) -> bool:
        """Whether the job must end now because its node has failed under this run.

        Then the run goes on elsewhere. False if nothing can be done, and the job stays.
        """
        if self.job_id is None or self.task is not None:
            return False
        avoid = own_jobs.failed_nodes(self.ends)
        return own_jobs.move_away(self.paths, self.plan, self.job_id, avoid)

    def status_of_left_job(self) -> int:
        """The exit status of a job whose place another job takes."""
        return 0 if self.plan.policy.requeue else EXIT_STOPPED


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
    events = keep_trying("attempts.jsonl", lambda: _events(paths), paths)
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


def conclude(this: Attempt, ended: Ended) -> int:
    """Decide whether there is another attempt; write the result of a run that is over.

    Returns:
        the status to end with.

    Raises:
        RunError: another worker has begun to run the sweep's trial.
    """
    paths, plan = this.paths, this.plan
    if this.task is not None:
        require_own(paths)
    if paths.is_cancelled():
        notify_end(paths, plan, states.CANCELLED, "cancelled", None)
        return 0
    # Somebody may have resumed the run meanwhile, or another job of it may have started
    this.events = records.read_attempts(paths) or this.events
    jobs_left = None
    if this.task is not None:
        jobs_left = 1  # if its task may not go on with it, another task does
    elif this.job_id is not None and not plan.policy.requeue:
        jobs_left = own_jobs.jobs_left(paths, this.job_id)
    outcome = next_step(ended.outcome, this.ends, plan.policy.max_requeues, jobs_left)
    if outcome.state == states.UNFIT and this.leaves_node():
        return this.status_of_left_job()
    words = f"attempt {this.number} ended: {outcome.state}, exit status {ended.status}"
    if outcome.state in states.AGAIN:
        say(f"{words}; it will run again")
        return EXIT_STOPPED
    say(words)
    if outcome.state in (states.DONE, states.PRUNED, states.FAILED, states.CANCELLED):
        outcome = write_result(this, outcome)
    return _status_of_end(outcome, ended.status)


def _status_of_end(outcome: Outcome, status: int) -> int:
    """The status to end with when a run is over; never 75, with which it would run again."""
    if outcome.state == states.PRUNED:
        return 0  # the program saved and stopped, as it was asked to
    is_failure = outcome.state in (states.FAILED, states.CANCELLED)
    if is_failure and (status <= 0 or status == EXIT_STOPPED):
        return 1
    return status


def write_result(this: Attempt, outcome: Outcome) -> Outcome:
    """Write the result of a run that is over; how it ended."""
    paths, plan, task = this.paths, this.plan, this.task
    if task is None:
        keep_trying("result.json", lambda: finish(paths, plan, outcome, this.events), paths)
        own_jobs.cancel_rest(paths)
        notify_end(paths, plan, outcome.state, outcome.cause, outcome.message)
        return outcome
    objective = objective_of(task.settings, paths)
    of_trial = judged(outcome, objective, task.settings)
    lacks_metric = of_trial is not outcome
    keys = end_keys(objective, of_trial, this.events, paths, lacks_metric)
    keep_trying("result.json", lambda: finish(paths, plan, of_trial, this.events, keys), paths)
    with suppress(OSError):  # a sweep has many trials, and file systems count files
        paths.devices.unlink()
    return of_trial


def _events(paths: RunPaths) -> list[AttemptEvent]:
    """The lines of attempts.jsonl.

    Raises:
        OSError: the file exists and cannot be read. A run with lines must not pass for a new one.
    """
    with suppress(FileNotFoundError):
        paths.attempts.read_bytes()
    return records.read_attempts(paths)


def saved_step(paths: RunPaths, plan: Plan) -> int | None:
    """The newest checkpoint's step, of all folds together; None for a script.

    A script keeps its state as it likes.
    """
    if not plan.program.keeps_state:
        return None
    newest = 0
    for part in paths.folds() or [paths]:
        steps = [int(path.stem) for path in part.checkpoints.glob("*.npz") if path.stem.isdigit()]
        newest += max(steps, default=0)
    return newest


def saved_images(paths: RunPaths) -> int:
    """Of how many images the features are saved, by the last heartbeat.

    A frozen backbone's run may compute them before its first step.
    """
    return Heartbeat.read(paths).saved_images or 0
