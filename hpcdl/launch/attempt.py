"""One attempt of a run, from its line in attempts.jsonl to the status that says whether there is another."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from hpcdl.contract.spec import EXIT_STOPPED
from hpcdl.files import append_json_line, read_json, write_json
from hpcdl.launch import node_checks, own_jobs
from hpcdl.launch.command import read_plan
from hpcdl.launch.deadline import Clock
from hpcdl.launch.process import run_program
from hpcdl.launch.result import finish
from hpcdl.launch.retry import keep_trying, say
from hpcdl.planning import Plan
from hpcdl.run import causes, records
from hpcdl.run.logs import slurms_words
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import attempt_ends, process_start
from hpcdl.scheduler import slurm


def attempt(paths: RunPaths, job_id: str | None) -> int:
    """Run one attempt.

    Args:
        paths: the run.
        job_id: SLURM's id of the job that this is; None on a machine without SLURM.

    Returns:
        the status to end with: 75 where it is to be run again.

    Raises:
        OutOfPatienceError: the run folder cannot be read or written.
        RunRemovedError: it was removed.
    """
    plan = keep_trying("plan.json", lambda: read_plan(paths), paths)
    over = _is_over(paths, plan)
    if over:
        say(f"{over}; nothing is started")
        return 0
    if _settle_last(paths, plan) == causes.CANCELLED and not plan.requeue:
        say("the last job of this run was cancelled, and so is the run; nothing is started")
        keep_trying("the marker", paths.cancelled.touch, paths)
        own_jobs.cancel_rest(paths)
        return 0
    here = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    if (
        job_id is not None
        and here in own_jobs.failed_nodes(paths)
        and own_jobs.move_away(paths, plan, job_id)
    ):
        return 0 if plan.requeue else EXIT_STOPPED
    number = 1 + sum(row.get("event") == "start" for row in records.attempts(paths))
    row: dict[str, Any] = {
        "attempt": number,
        "job_id": job_id,
        "node": here,
        "from_step": saved_step(paths, plan),
    }
    row["from_images"] = saved_images(paths)
    started = time.time()
    me = {"pid": os.getpid(), "pid_start": process_start(os.getpid()), "host": socket.gethostname()}
    _note(paths, {**row, **me, "event": "start", "time": started})
    keep_trying("failure.json", lambda: paths.failure.unlink(missing_ok=True), paths)
    if (read_json(paths.result) or {}).get(
        "state"
    ) != causes.DONE:  # the trainer's own, from before launch was killed
        keep_trying("result.json", lambda: paths.result.unlink(missing_ok=True), paths)
    say(f"attempt {number} of {paths.root} on {here}")
    status, outcome, peak_memory_gb = _try(paths, plan, row)
    row.update(
        status=status,
        reason=outcome.state,
        steps=saved_step(paths, plan),
        images=saved_images(paths),
    )
    row["peak_memory_gb"] = peak_memory_gb
    row["seconds"] = round(time.time() - started, 3)
    _note(paths, {**row, "event": "end", "time": time.time()})
    if paths.cancelled.exists():
        return 0
    jobs_left = None if job_id is None or plan.requeue else own_jobs.jobs_left(paths, job_id)
    step = causes.next_step(
        outcome, attempt_ends(records.attempts(paths)), plan.max_requeues, jobs_left
    )
    if (
        step.state == causes.UNFIT
        and job_id is not None
        and own_jobs.move_away(paths, plan, job_id)
    ):
        return 0 if plan.requeue else EXIT_STOPPED
    return _conclude(paths, plan, number, status, step)


def saved_step(paths: RunPaths, plan: Plan) -> int | None:
    """The newest checkpoint's step, of all folds together; None for a script, which keeps its state as it likes."""
    if plan.script is not None:
        return None
    newest = 0
    for part in paths.folds() or [paths]:
        steps = [int(path.stem) for path in part.checkpoints.glob("*.npz") if path.stem.isdigit()]
        newest += max(steps, default=0)
    return newest


def saved_images(paths: RunPaths) -> int:
    """Of how many images the features are kept, by the last heartbeat; a run may compute them before its first step."""
    return int((read_json(paths.heartbeat) or {}).get("saved_images") or 0)


def _is_over(paths: RunPaths, plan: Plan) -> str | None:
    """Why there is nothing to do: jobs of a chain, and those that somebody requeues, come late."""
    if paths.cancelled.exists():
        return "this run was cancelled"
    result = read_json(paths.result) or {}
    state = result.get("state")
    if "attempts" in result and (
        state == causes.DONE or (state == causes.FAILED and not plan.requeue)
    ):
        return f"this run is {state}"
    return None


def _try(
    paths: RunPaths, plan: Plan, row: dict[str, Any]
) -> tuple[int, causes.Outcome, float | None]:
    """Run the program once: its exit status, what that means, and the most memory it had."""
    number, job_id = row["attempt"], row["job_id"]
    hopeless = causes.hopeless(attempt_ends(records.attempts(paths)))
    if hopeless:
        return 1, hopeless, None
    faults = node_checks.faults(paths, plan, in_slurm=job_id is not None)
    if faults:
        return _unfit(paths, row, faults)
    limit = time.time() + plan.time_limit_s  # what SLURM says is better, but it may not answer
    end_time = limit if job_id is None else slurm.end_time(job_id) or limit
    clock = Clock(paths, end_time, plan.stop_margin_s, kills=job_id is None)
    ending = run_program(paths, plan, number, job_id, clock)
    return ending.status, causes.of_ending(ending), ending.peak_memory_gb


def _unfit(
    paths: RunPaths, row: dict[str, Any], faults: list[node_checks.Fault]
) -> tuple[int, causes.Outcome, None]:
    """Write down what the node lacks. In SLURM another one may be better, unless it is no fault of the node's."""
    lines = "".join(f"error: {row['node']}: {fault.text}\n" for fault in faults)
    say(lines.rstrip())
    keep_trying("the log", lambda: _write_log(paths, row["attempt"], lines), paths)
    cause = faults[0].cause
    failure = {"kind": cause, "hint": causes.HINTS[causes.UNFIT]}
    keep_trying("failure.json", lambda: write_json(paths.failure, failure), paths)
    again = row["job_id"] is not None and all(fault.elsewhere for fault in faults)
    message = f"{row['node']} is not fit for this job: {'; '.join(fault.text for fault in faults)}"
    return (
        node_checks.STATUS[cause],
        causes.Outcome(causes.UNFIT if again else causes.FAILED, cause, message),
        None,
    )


def _write_log(paths: RunPaths, number: int, lines: str) -> None:
    paths.logs.mkdir(exist_ok=True)  # somebody may have tidied up
    paths.log(number).write_text(lines, encoding="utf-8")


def _conclude(
    paths: RunPaths, plan: Plan, number: int, status: int, outcome: causes.Outcome
) -> int:
    """Write the result of a run that is over; the status that says whether it is run again."""
    if outcome.state in causes.AGAIN:
        say(f"attempt {number} ended: {outcome.state}, exit status {status}; it will run again")
        return EXIT_STOPPED
    say(f"attempt {number} ended: {outcome.state}, exit status {status}")
    if outcome.state in (causes.DONE, causes.FAILED):
        keep_trying("result.json", lambda: finish(paths, plan, outcome), paths)
        own_jobs.cancel_rest(paths)
    if outcome.state == causes.FAILED:
        return status if status > 0 and status != EXIT_STOPPED else 1
    return status


def _settle_last(paths: RunPaths, plan: Plan) -> str | None:
    """Write how the last attempt ended, where it could not say so itself: launch was killed, or its node died.

    Returns:
        why it ended, where that had to be found out.
    """
    events = records.attempts(paths)
    rows = [row for row in events if row.get("event") in ("start", "end")]
    if not rows or rows[-1].get("reason", causes.TERMINATED) != causes.TERMINATED:
        return None
    last = {"status": None, "seconds": None, **rows[-1]}
    job_id = last["job_id"]
    reason = None
    if job_id is not None:
        output = slurms_words(paths, job_id)
        word = causes.slurm_state_of_words(output) or own_jobs.last_state(job_id)
        reason = causes.reason_of_slurm_state(word)
        if reason == causes.REQUEUED and causes.OWN_REQUEUE in output:
            reason = (
                causes.KILLED
            )  # launch itself was, and so the batch script asked for the requeue
    if last["event"] == "start" or reason is not None:
        keys = ("attempt", "job_id", "node", "from_step", "from_images", "status", "seconds")
        row = {key: last.get(key) for key in keys}
        row.update(
            event="end",
            reason=reason or causes.KILLED,
            steps=saved_step(paths, plan),
            time=time.time(),
        )
        row["images"] = saved_images(paths)
        _note(paths, row)
    return reason if events[-1]["event"] != "resumed" else None


def _note(paths: RunPaths, row: dict[str, Any]) -> None:
    keep_trying("attempts.jsonl", lambda: append_json_line(paths.attempts, row), paths)
