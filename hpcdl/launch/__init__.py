"""On the compute node: runs one attempt of a run in its container and writes down how it ended.

submitit's worker calls `launch` with the run folder's path; that is all the
pickle holds, so it can be run again after a requeue. Budgets and the rule
against endless loops are decided here: it exits with 75, or it does not.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hpcdl.files import append_json_line, read_json_lines, write_json
from hpcdl.launch.clock import Clock
from hpcdl.launch.program import argv_of, places_of, prepare_home, program_of
from hpcdl.launch.result import finish, log_tail
from hpcdl.planning import Plan
from hpcdl.run import causes
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import process_start
from hpcdl.trainer.spec import EXIT_SPEC, EXIT_STOPPED

_LOOK_S = 1.0  # how often the clock is looked at
_PR_SET_PDEATHSIG = 1  # prctl(2)


def launch(run: str) -> None:
    """Run one attempt.

    Args:
        run: the run folder.

    Raises:
        SystemExit: 75 where the job is to be requeued, the program's status where it failed.
    """
    status = _attempt(RunPaths(Path(run)), os.environ.get("SLURM_JOB_ID"))
    if status:
        sys.exit(status)


def launch_local(run: str) -> None:
    """Run attempts on this machine until one does not ask to be run again.

    Args:
        run: the run folder.

    Raises:
        SystemExit: as `launch`.
    """
    paths = RunPaths(Path(run))
    while (status := _attempt(paths, None)) == EXIT_STOPPED:
        paths.stop.unlink(missing_ok=True)
    if status:
        sys.exit(status)


def read_plan(paths: RunPaths) -> Plan:
    """The plan that was frozen with a run."""
    import msgspec

    return msgspec.json.decode(paths.plan.read_bytes(), type=Plan)


def _attempt(paths: RunPaths, job_id: str | None) -> int:
    """One attempt; gives the status to end with."""
    if paths.cancelled.exists():
        print("this run was cancelled; nothing is started", flush=True)
        return 0
    plan = read_plan(paths)
    _close_last(paths, plan)
    number = 1 + sum(row.get("event") == "start" for row in read_json_lines(paths.attempts))
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    row: dict[str, Any] = {"attempt": number, "job_id": job_id, "node": node, "from_step": saved_step(paths, plan)}
    started = time.time()
    me = {"pid": os.getpid(), "pid_start": process_start(os.getpid()), "host": socket.gethostname()}
    append_json_line(paths.attempts, {**row, **me, "event": "start", "time": started})
    for old in (paths.failure, paths.result):
        old.unlink(missing_ok=True)
    print(f"attempt {number} of {paths.root} on {node}", flush=True)
    hopeless = causes.hopeless(_ends(paths))
    status, outcome = (1, hopeless) if hopeless else _try(paths, plan, number, job_id)
    row.update(status=status, reason=outcome.state, steps=saved_step(paths, plan))
    row["seconds"] = round(time.time() - started, 3)
    append_json_line(paths.attempts, {**row, "event": "end", "time": time.time()})
    if paths.cancelled.exists():
        return 0
    return _conclude(paths, plan, number, status, causes.next_step(outcome, _ends(paths), plan.max_requeues))


def _try(paths: RunPaths, plan: Plan, attempt: int, job_id: str | None) -> tuple[int, causes.Outcome]:
    """Run the program once: its exit status, and what that means."""
    clock = Clock(paths, _end_time(job_id), plan.stop_margin_s)
    terminated = _note_sigterm()
    status = _run_program(paths, plan, attempt, clock)
    if terminated and status not in (0, EXIT_STOPPED):
        status = 128 + signal.SIGTERM  # a container that is still starting gives another status
    outcome = causes.of_exit_status(status, plan.script is not None, job_id is not None, log_tail(paths, attempt))
    if outcome.state == causes.STOPPED and job_id is not None:
        late = clock.near_the_end(plan.signal_lead_s, time.time())
        outcome = causes.Outcome(causes.TIME_LIMIT if late else causes.PREEMPTED)
    return status, outcome


def _conclude(paths: RunPaths, plan: Plan, number: int, status: int, outcome: causes.Outcome) -> int:
    """Write the result of a run that is over; the status that says whether it is run again."""
    if outcome.state in causes.AGAIN:
        print(f"attempt {number} ended: {outcome.state}, exit status {status}; it will run again", flush=True)
        return EXIT_STOPPED
    if outcome.state in (causes.DONE, causes.FAILED):
        finish(paths, plan, outcome)
    print(f"attempt {number} ended: {outcome.state}, exit status {status}", flush=True)
    if outcome.state == causes.FAILED:
        return status if status > 0 and status != EXIT_STOPPED else 1
    return status


def _ends(paths: RunPaths) -> list[dict[str, Any]]:
    """The ends of the attempts since the run was last resumed by hand."""
    ends: list[dict[str, Any]] = []
    for row in read_json_lines(paths.attempts):
        if row.get("event") == "resumed":
            ends = []
        elif row.get("event") == "end":
            ends.append(row)
    return ends


def _close_last(paths: RunPaths, plan: Plan) -> None:
    """Write the end of an attempt that left none: launch itself was killed, or its node died."""
    rows = [row for row in read_json_lines(paths.attempts) if row.get("event") in ("start", "end")]
    if not rows or rows[-1]["event"] == "end":
        return
    last = {key: rows[-1].get(key) for key in ("attempt", "job_id", "node", "from_step")}
    last.update(status=None, reason=causes.KILLED, steps=saved_step(paths, plan), seconds=None)
    append_json_line(paths.attempts, {**last, "event": "end", "time": time.time()})


def saved_step(paths: RunPaths, plan: Plan) -> int | None:
    """The step of the newest checkpoint; None for a script, which keeps its state as it likes."""
    if plan.script is not None:
        return None
    steps = [int(path.stem) for path in paths.checkpoints.glob("*.npz") if path.stem.isdigit()]
    return max(steps, default=0)


def _end_time(job_id: str | None) -> float | None:
    if job_id is None:
        return None
    from hpcdl.scheduler import slurm

    return slurm.end_time(job_id)


def _note_sigterm() -> list[int]:
    """A list that SIGTERM makes non-empty: SLURM sends it to every process of a job that it ends."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    return seen


def _run_program(paths: RunPaths, plan: Plan, attempt: int, clock: Clock) -> int:
    """Start the program in its container (or here, where the plan has none) and wait for it."""
    prepare_home(paths.home, plan.data_root)
    tmp = Path(tempfile.mkdtemp(prefix="hpcdl-", dir=plan.scratch and os.path.expandvars(plan.scratch)))
    places = places_of(paths, plan, str(attempt), str(tmp))
    argv, env = argv_of(plan, places, program_of(paths, plan))
    with paths.log(attempt).open("ab") as log:
        try:
            child = subprocess.Popen(
                argv, env=env, cwd=places.workdir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_die_with_parent,
            )  # fmt: skip
            while True:
                try:
                    return child.wait(_LOOK_S)
                except subprocess.TimeoutExpired:
                    clock.look()
        except OSError as error:
            message = f"hpcdl: cannot start {argv[0]} on {socket.gethostname()}: {error.strerror}"
            if plan.image and error.filename == argv[0]:
                message += f" (the profile's modules are {plan.modules or 'none'}, its runtime is {plan.runtime})"
            log.write(f"{message}\n".encode())
            write_json(paths.failure, {"kind": "spec", "message": message})
            return EXIT_SPEC
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


def _die_with_parent() -> None:
    """In the child: end when launch ends, however that happens. Two trainers must never write one run."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
