"""What is done about a run that did not end well, by its cause: one table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl.run import states
from hpcdl.run.records import AttemptEvent

# What a cause asks for
AGAIN = "send it again"
MORE_MEMORY = "send it again with more memory"
ANOTHER_NODE = "send it again, on another node"
ONCE = "send it again, for this cause once"
MEND = "mend it first"  # sent only with --force: it would fail in the same way
NAME_IT = "leave it"  # sent only if the user names this cause

_BY_CAUSE = {
    "out_of_memory": MORE_MEMORY,
    states.NODE_FAILURE: ANOTHER_NODE,
    "device": ANOTHER_NODE,
    states.TIME_LIMIT: AGAIN,
    states.DEPENDENCY: AGAIN,
    states.LOST: AGAIN,
    "internal": ONCE,
    states.STALL: ONCE,
    "user_code": MEND,
    "spec": MEND,
    "data": MEND,
    states.CANCELLED: NAME_IT,
}
CAUSES = tuple(_BY_CAUSE)
# What to do instead, where it is not sent; the command line puts the run in RUN's place
_INSTEAD = {
    "user_code": (
        "the fault is in the script or function, of which the run has a copy: "
        "mend yours (hpcdl logs RUN shows where) and submit the job anew"
    ),
    "spec": "put right what hpcdl result RUN names, and submit the job anew",
    "data": (
        "put right what hpcdl result RUN names; if that was the data set itself, "
        "hpcdl retry RUN --force; if it was the job file, submit the job anew"
    ),
    "internal": (
        "it was sent again for this before; hpcdl logs RUN shows more, "
        "and hpcdl retry RUN --force sends it all the same"
    ),
    states.STALL: (
        "it was sent again for this before; the stacks in hpcdl logs RUN show what it waits for, "
        "and hpcdl retry RUN --force sends it all the same"
    ),
    states.CANCELLED: (
        "somebody cancelled it; if it is to run after all: hpcdl retry RUN --cause cancelled"
    ),
}


@dataclass(frozen=True)
class Asked:
    """Which runs the user wants to be sent again, and how.

    Args:
        failed: only those that failed or were lost.
        cause: only those with this cause.
        named: whether the user names the very trials of a sweep.
        force: also those that would fail in the same way.
    """

    failed: bool = False
    cause: str | None = None
    force: bool = False
    named: bool = False


@dataclass(frozen=True)
class Decision:
    """What is done about one run.

    Args:
        sends: whether it is sent again.
        action: in words.
        cause: why it ended, one of `CAUSES`; None if it has not ended badly.
        instead: what to do, where it is refused.
    """

    sends: bool
    action: str
    cause: str | None = None
    instead: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether the user must do something else."""
        return bool(self.instead)


def decide(state: str, cause: str | None, sent_before: Sequence[str], asked: Asked) -> Decision:
    """What is done about a run.

    Args:
        state: the run's, one of the words of `states`.
        cause: of its failure.
        sent_before: the causes for which it was sent again so far.
        asked: what the user wants.
    """
    if state in (states.FAILED, states.LOST, states.CANCELLED):
        return _of_cause(_cause_of(state, cause), sent_before, asked)
    if state in (states.CREATED, states.UNKNOWN) and not (asked.cause or asked.failed):
        return Decision(True, AGAIN)
    if state in (states.DONE, states.CREATED, states.UNKNOWN):
        return Decision(False, f"nothing: it is {state}")
    return Decision(False, f"nothing: it is {state}, and has not ended")


def _of_cause(cause: str, sent_before: Sequence[str], asked: Asked) -> Decision:
    """What is done about a run that did not end well."""
    if asked.cause not in (None, cause):
        return Decision(False, f"nothing: its cause is {cause}", cause)
    if asked.failed and cause == states.CANCELLED:
        return Decision(False, "nothing: it was cancelled", cause)
    action = _BY_CAUSE[cause]
    refused = {
        NAME_IT: asked.cause is None and not asked.named,
        MEND: not asked.force,
        ONCE: cause in sent_before and not asked.force,
    }
    if refused.get(action):
        return Decision(False, action, cause, _INSTEAD[cause])
    if action in (MEND, NAME_IT):
        action = AGAIN
    return Decision(True, action, cause)


def _cause_of(state: str, cause: str | None) -> str:
    """The row of the table: a failure that nobody could explain counts as internal."""
    if state == states.LOST:
        return states.LOST
    if state == states.CANCELLED and cause != states.DEPENDENCY:
        return states.CANCELLED
    return cause if cause in _BY_CAUSE else "internal"


def sent_before(events: Sequence[AttemptEvent]) -> list[str]:
    """The causes for which a run was sent again and started, oldest first.

    Args:
        events: the lines of attempts.jsonl.
    """
    causes: list[str] = []
    waiting: str | None = None
    for event in events:
        if event.event == states.RESUMED:
            waiting = event.cause
        elif event.is_start and waiting is not None:
            causes.append(waiting)
            waiting = None
    return causes
