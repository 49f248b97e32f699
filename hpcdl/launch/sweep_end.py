"""Tells the user that a sweep has ended; the task that sees the end does so."""

from __future__ import annotations

from hpcdl.launch.notify import notify_end
from hpcdl.launch.retry import say
from hpcdl.planning import Plan
from hpcdl.run import states
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.handle import Sweep
from hpcdl.sweeps.progress import SweepProgress


def notify_if_over(paths: SweepPaths, plan: Plan) -> None:
    """Run the command of the job's `notify` if no trial of the sweep runs or waits any more.

    What goes wrong here is a line in the task's log: the trials have ended.

    Args:
        paths: the sweep's.
        plan: its plan.
    """
    if not plan.notify.command:
        return
    try:
        progress = Sweep(paths.root).status()
    except Exception as error:
        say(f"notify: the sweep cannot be read: {error}")
        return
    if not progress.is_over:
        return
    state, cause = _end_of(progress)
    notify_end(paths, plan, state, cause, _message(progress))


def _end_of(progress: SweepProgress) -> tuple[str, str | None]:
    if progress.is_cancelled:
        return states.CANCELLED, "cancelled"
    if progress.counts["done"] == 0 and progress.counts["failed"]:
        return states.FAILED, "spec"
    return states.DONE, None


def _message(progress: SweepProgress) -> str:
    parts = []
    for name in ("done", "pruned", "failed"):
        if progress.counts[name]:
            parts.append(f"{progress.counts[name]} {name}")
    message = ", ".join(parts) or "no trial has ended"
    if progress.best is not None:
        message += f"; the best is trial {progress.best.number}, {progress.best.value:.6g}"
    if progress.stop_reason:
        message += f"; stopped: {progress.stop_reason}"
    return message
