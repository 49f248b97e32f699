"""Where a run's time went, and when it was."""

from __future__ import annotations

from dataclasses import dataclass

from hpcdl.formats import moment
from hpcdl.report.facts import Facts

_TESTING = ("evaluate_s", "predict_s", "explain_s", "attack_s")


@dataclass(frozen=True)
class Span:
    """A part of a run's time: its name, its seconds, its number in the palette of colours."""

    name: str
    seconds: float
    colour: int


def moments(facts: Facts) -> list[tuple[str, str]]:
    """When the run was submitted, started and ended so far, as (name, text)."""
    timestamps = {
        "submitted": facts.submitted_at,
        "started": facts.started_at,
        "ended": facts.ended_at,
    }
    texts = []
    for name, timestamp in timestamps.items():
        if timestamp is not None:
            texts.append((name, moment(timestamp)))
    return texts


def spans(facts: Facts) -> list[Span]:
    """Where the time went, in the order in which it is spent; the rest comes last."""
    timing = facts.section("timing")
    epochs_s = sum(line["seconds"] for line in facts.training_lines)
    named = [
        ("reading data", timing.get("data_s"), 4),
        ("starting TensorFlow", timing.get("import_s"), 2),
        ("building the model", timing.get("build_s"), 3),
        ("training steps", timing.get("train_s", epochs_s or None), 0),
        ("testing", _sum(*map(timing.get, _TESTING)), 5),
        ("saving", _sum(timing.get("save_blocked_s"), timing.get("save_s")), 1),
        ("exporting", timing.get("export_s"), 3),
    ]
    parts = []
    for name, seconds, colour in named:
        if seconds is not None:
            parts.append(Span(name, seconds, colour))
    if facts.total_s is not None:
        rest = facts.total_s - sum(span.seconds for span in parts)
        name = "running"
        if parts:
            name = "start of the container, validation, all else"
        parts.append(Span(name, max(0.0, rest), 6))
    if facts.waited_s is not None:
        parts.insert(0, Span("waiting in the queue", facts.waited_s, 7))
    return parts


def _sum(*values: float | None) -> float | None:
    """The sum of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return sum(known)
