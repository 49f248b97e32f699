"""Runs the user's own command when a run or sweep has ended for good, once for each end.

The command cannot change how the run ends: its result is written before, and what goes wrong here
is a line in the log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from hpcdl.files import append_json_line, read_json_lines
from hpcdl.launch.processes import kill_tree
from hpcdl.launch.retry import say
from hpcdl.planning import Plan
from hpcdl.run import states
from hpcdl.run.logs import NOTIFY_PRINTED, numbered
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.result import Result
from hpcdl.sweeps.folder import SweepPaths

NOTIFIED = "notified"  # a line of attempts.jsonl
_MESSAGE_CHARACTERS = 500
_OUTPUT_BYTES = 65536
# hpcdl's own, for its worker; a command of the user's may be a Python program, too
_NOT_FOR_COMMAND = ("PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONUTF8")


def notify_end(
    paths: RunPaths | SweepPaths, plan: Plan, state: str, cause: str | None, message: str | None
) -> None:
    """Run the command of a plan's `notify`, if it was not run for this end before.

    Of a run this is written down after the command: a kill in between repeats it when the job
    starts again, so that no end is missed. Of a sweep it is noted before, as several tasks may see
    the end: a kill in between loses it. A trial of a sweep does not notify.

    Args:
        paths: the run, or the sweep.
        plan: its plan.
        state: how it ended, a final state.
        cause: of a failure.
        message: a sentence about the end; None for a usual one.
    """
    if not plan.notify.command or isinstance(paths, TrialPaths):
        return
    try:
        if isinstance(paths, SweepPaths):
            with suppress(FileExistsError):
                os.close(os.open(paths.notified, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
                _run_command(paths.root, plan, _variables(paths.root, state, cause, message), None)
        elif not _was_notified(paths):
            logs = numbered(paths)
            log = logs[-1] if logs else None
            _run_command(paths.root, plan, _variables(paths.root, state, cause, message), log)
            line = {"event": NOTIFIED, "state": state, "time": time.time()}
            append_json_line(paths.attempts, line)
    except (OSError, ValueError) as error:
        say(f"notify: {error}")


def notify_of_old_end(paths: RunPaths, plan: Plan) -> None:
    """The same for a run that ended in an earlier job, which was killed before it could."""
    result = Result.read(paths)
    if paths.is_cancelled():
        notify_end(paths, plan, states.CANCELLED, "cancelled", None)
    elif result is not None:
        notify_end(paths, plan, result.state, result.cause, result.message)


def _was_notified(paths: RunPaths) -> bool:
    """Whether the command was run since the run was last resumed by hand."""
    notified = False
    for line in read_json_lines(paths.attempts):
        if line.get("event") == states.RESUMED:
            notified = False
        elif line.get("event") == NOTIFIED:
            notified = True
    return notified


def _variables(root: Path, state: str, cause: str | None, message: str | None) -> dict[str, str]:
    """What the command finds in its environment about the end."""
    name = "/".join(root.parts[-2:])
    words = " ".join(f"{name} is {state}{': ' if message else ''}{message or ''}".split())
    return {
        "HPCDL_RUN": str(root),
        "HPCDL_STATE": state,
        "HPCDL_CAUSE": cause or "",
        "HPCDL_MESSAGE": words.replace("\0", "")[:_MESSAGE_CHARACTERS],
    }


def _run_command(root: Path, plan: Plan, variables: dict[str, str], log: Path | None) -> None:
    """Run the command to its end, or end it and all that it started when its time is over.

    Args:
        root: the folder that it runs in.
        plan: the run's.
        variables: what it finds in its environment besides the job's own.
        log: where its output is added; None for launch's own.

    Raises:
        OSError: it cannot be started, or its output cannot be kept.
    """
    env = {**os.environ, **variables}
    for name in _NOT_FOR_COMMAND:
        env.pop(name, None)
    # A file and not a pipe: what the command leaves running could keep a pipe open
    with tempfile.TemporaryFile("w+b") as output:
        process = subprocess.Popen(
            plan.notify.command,
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(plan.notify.timeout_s)
            why = f"ended with exit status {status}" if status else ""
        except subprocess.TimeoutExpired:
            why = f"was ended after {plan.notify.timeout_s} s"
            kill_tree(process.pid)
            process.wait()
        finally:  # what it left running has its process group
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        text = output.read(_OUTPUT_BYTES).decode("utf-8", "replace")
    if why:
        text = f"{text.rstrip()}\nhpcdl: {plan.notify.command[0]} {why}\n".lstrip()
    if text.strip():
        _keep(f"{NOTIFY_PRINTED}\n{text}", log)


def _keep(text: str, log: Path | None) -> None:
    """Add what the command printed, and how it failed, to a log."""
    if log is None:
        say(text.rstrip())
        return
    with log.open("a", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
