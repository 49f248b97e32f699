"""Tells the user that a sweep has ended; the task that sees the end does so."""

from __future__ import annotations

from hpcdl.errors import HpcdlError
from hpcdl.launch.notify import notify_end
from hpcdl.launch.retry import say
from hpcdl.planning import Plan
from hpcdl.run import states
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.overview import COUNTED, SweepOverview, overview


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
        sweep = overview(paths)
    except (HpcdlError, OSError) as error:
        say(f"notify: the sweep cannot be read: {error}")
        return
    if sweep.final:
        cause = "cancelled" if sweep.state == states.CANCELLED else None
        notify_end(paths, plan, sweep.state, cause, _message(sweep))


def _message(sweep: SweepOverview) -> str:
    parts = []
    for state in COUNTED:
        if sweep.counts[state]:
            parts.append(f"{sweep.counts[state]} {state}")
    message = ", ".join(parts) or "no trial has begun"
    for trial in sweep.best(1):
        message += f"; the best is trial {trial.number}, {trial.value:.6g}"
    if sweep.note:
        message += f"; {sweep.note}"
    return message
