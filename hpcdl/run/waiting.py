"""Why a job waits in the queue: SLURM's reason, and what to do if waiting does not help.

Source of the reasons: https://slurm.schedmd.com/job_reason_codes.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NEVER = "it will never start; hpcdl cancel RUN"
_TOO_MUCH = "it asks for more than is allowed; hpcdl cancel RUN"
_HINTS = (
    ("DependencyNeverSatisfied|BadConstraints|InvalidAccount|InvalidQOS", _NEVER),
    ("PartitionTimeLimit|PartitionNodeLimit", _TOO_MUCH),
    ("(QOS|Assoc)Max.*PerJob.*", _TOO_MUCH),
    ("(QOS|Assoc)(Max|Grp).*", "your other jobs, or your group's, have all that is allowed"),
    ("JobHeldUser", "it is held; scontrol release JOB"),
    ("JobHeldAdmin", "an administrator holds it; ask the help desk"),
    (
        "JobHoldMaxRequeue|launch failed requeued held",
        "SLURM holds it after failed starts; scontrol release JOB",
    ),
    ("ReqNodeNotAvail.*", "a node that it needs is down or reserved"),
    ("Dependency", "it waits for another job"),
    ("BeginTime", "SLURM starts it later"),
    ("JobArrayTaskLimit", "as many tasks of its array run as may at once"),
)


def waiting_note(reason: str, start: str, job_id: str | None, after: Sequence[str] = ()) -> str:
    """Why a job waits, and perhaps for how long.

    Args:
        reason: SLURM's own word for it.
        start: when SLURM expects to start it, or empty.
        job_id: SLURM's id of it.
        after: the names of the runs that it comes after.
    """
    note = reason
    if reason == "Dependency" and after:
        return f"{reason}: it waits for {', '.join(after)}"
    for pattern, hint in _HINTS:
        if re.fullmatch(pattern, reason):
            note = f"{reason}: {hint.replace('JOB', job_id or 'JOB')}"
            break
    if start:
        note += f", about {start.replace('T', ' ')} (SLURM's estimate)"
    return note
