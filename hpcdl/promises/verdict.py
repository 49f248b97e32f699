"""The verdict on one promise, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpcdl.promises.evidence import JobEvidence
from hpcdl.run import states

KEPT = "kept"
BROKEN = "broken"
NOT_TRIED = "not tried"
NOT_NEEDED = "does not apply"
LEFT_EARLY = "the test was left early"
OUTCOMES = (KEPT, BROKEN, NOT_TRIED, NOT_NEEDED)


@dataclass(frozen=True)
class Verdict:
    """What a test says of a promise.

    Args:
        outcome: one of `OUTCOMES`.
        finding: what was seen, in a sentence.
        advice: what to do about it; "" where there is nothing to do.
        change: keys of the profile with values under which hpcdl copes; None removes a key.
    """

    outcome: str
    finding: str
    advice: str = ""
    change: dict[str, Any] = field(default_factory=dict)


def kept(finding: str, advice: str = "") -> Verdict:
    """The promise holds."""
    return Verdict(KEPT, finding, advice)


def broken(finding: str, advice: str, **change: Any) -> Verdict:
    """The promise does not hold."""
    return Verdict(BROKEN, finding, advice, change)


def not_tried(why: str, advice: str = "") -> Verdict:
    """Nobody knows."""
    return Verdict(NOT_TRIED, why, advice)


def not_needed(why: str) -> Verdict:
    """Nothing depends on it here."""
    return Verdict(NOT_NEEDED, why)


def why_unknown(about: JobEvidence | None, job: str) -> Verdict | None:
    """Why a job shows nothing of a promise at all; None if its worker started.

    Args:
        about: what the job showed.
        job: its name.
    """
    if about is None:
        return not_tried(f"the job {job} was not sent")
    if about.unsent:
        return not_tried(f"the job {job} did not run: {about.unsent}", about.fix)
    if not about.started and (about.state == states.CANCELLED or about.uncancelled):
        return not_tried(f"the job {job} was cancelled before it started")
    if not about.started:
        return not_tried(f"the job {job} ended before hpcdl's worker started")
    return None


def why_failed(about: JobEvidence) -> str:
    """How a run ended, in a few words."""
    cause = f" ({about.cause})" if about.cause else ""
    message = about.message.rstrip(".")
    return f"{about.state}{cause}: {message}" if message else f"{about.state}{cause}"


def telling(text: str) -> str:
    """The last lines of an output that say something, for a sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = ("rror", "such file", "not found", "denied", "refused", "disabled", "nable", "o module")
    fitting = [line for line in lines if any(word in line for word in words)]
    return " / ".join((fitting or lines)[-2:])[:300]
