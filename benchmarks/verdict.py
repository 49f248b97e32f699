"""Whether a run that faults happened to has ended as if nothing had: its weights, its metrics, its attempts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from faults import Fault
from numpy.typing import NDArray
from victim import LossError, Victim, in_session

KILLED_AT_THE_END = "killed after it had finished"
WALL_CLOCK = ("seconds", "images_per_s", "time")


@dataclass(frozen=True)
class End:
    """What a run ended with, the wall clock aside."""

    weights: dict[str, NDArray[Any]]
    epochs: list[dict[str, Any]]
    result: dict[str, Any]


def end_of(victim: Victim) -> End:
    """What a run ended with."""
    with np.load(victim.checkpoints()[-1]) as archive:
        weights = {name: archive[name] for name in archive.files if name.startswith("v")}
    epochs = [
        {k: v for k, v in row.items() if k not in WALL_CLOCK}
        for row in victim.lines("metrics.jsonl")
    ]
    result = victim.json("result.json")
    return End(
        weights,
        epochs,
        {key: result.get(key) for key in ("test", "validation", "best", "epochs_run", "steps")},
    )


def judge(victim: Victim, faults: list[Fault], reference: End) -> None:
    """Check a run that is done against one that nothing happened to; note in the faults what they made it repeat.

    Raises:
        LossError: something was lost, or is not as it should be.
    """
    _check(victim.status().state == "done", f"it is {victim.status().state}")
    end = end_of(victim)
    _check(
        end.epochs == reference.epochs, f"its epochs are {end.epochs}, expected {reference.epochs}"
    )
    _check(
        end.result == reference.result, f"its result is {end.result}, expected {reference.result}"
    )
    _check(end.weights.keys() == reference.weights.keys(), "it has other variables")
    for name, array in reference.weights.items():
        _check(
            np.array_equal(end.weights[name], array),
            f"its weights {name} are not bit for bit the same",
        )
    victim.check_checkpoints()
    _check_attempts(victim, faults)
    _count_repeated(victim, faults)
    _check_tidiness(victim)


def _check_attempts(victim: Victim, faults: list[Fault]) -> None:
    """Each attempt has one start and one end, with a reason that a fault of its time explains."""
    rows = [row for row in victim.lines("attempts.jsonl") if row["event"] in ("start", "end")]
    count = victim.attempt
    if victim.status().note == KILLED_AT_THE_END:  # launch has no say of that any more
        rows.append({"attempt": count, "event": "end", "reason": "done"})
    order = [(row["attempt"], row["event"]) for row in rows]
    _check(
        order == [(n, e) for n in range(1, count + 1) for e in ("start", "end")],
        f"its attempts are {order}",
    )
    for row in rows[1::2]:
        number, reason = row["attempt"], row["reason"]
        explained = {
            reason
            for fault in faults
            if fault.first <= number <= fault.last
            for reason in fault.kind.reasons
        }
        if victim.limited:  # nothing else happens to it
            explained = {"time_limit", "failed"}
        expected = {"done"} if number == count else explained
        _check(
            reason in expected,
            f"attempt {number} ended with {reason}, expected one of {sorted(expected)}",
        )
    told = [
        (row["attempt"], row["reason"])
        for row in victim.json("result.json").get("attempts", rows[1::2])
    ]
    _check(
        told == [(row["attempt"], row["reason"]) for row in rows[1::2]],
        f"result.json tells of the attempts {told}",
    )


def _count_repeated(victim: Victim, faults: list[Fault]) -> None:
    """The steps that an attempt had done and the next one did again, by what the steps themselves counted."""
    starts = {
        row["attempt"]: row for row in victim.lines("attempts.jsonl") if row["event"] == "start"
    }
    reasons = {
        row["attempt"]: row["reason"]
        for row in victim.lines("attempts.jsonl")
        if row["event"] == "end"
    }
    reached, ended = 0, 0
    most = (
        2 * victim.shape.save_every + 1
    )  # a checkpoint is still being written, the next is due: training waits
    for number, start in starts.items():
        executed = victim.steps_of(number)
        if not executed and number < len(starts):
            continue  # it ended before it trained
        began = _restored(victim, number, start["from_step"])
        repeated = reached - began
        _check(
            repeated >= 0,
            f"attempt {number} began at step {began}, but step {reached} is all that was done before",
        )
        if repeated:
            guilty = [fault for fault in faults if fault.first <= ended <= fault.last]
            why = f"{repeated} steps were repeated after attempt {ended}"
            _check(bool(guilty) or victim.limited, f"{why}, and nothing had happened to it")
            # one that was asked to stop has saved its state, unless its disk was ill
            saved = reasons.get(ended) in ("stopped", "time_limit") and not any(
                fault.kind.on_disk for fault in guilty
            )
            allowed = (0 if saved else most) + victim.shape.save_every * len(victim.torn)
            _check(repeated <= allowed, f"{why}, at most {allowed} may be")
            for fault in guilty[-1:]:
                fault.repeated += repeated
        reached, ended = began + executed, number
    total = victim.json("result.json")["steps"]
    _check(reached == total, f"its attempts come to {reached} steps, expected {total}")


def _restored(victim: Victim, attempt: int, otherwise: int) -> int:
    """The step that an attempt went on from, as its log says; a full disk may have kept the line from it."""
    log = victim.path / f"logs/{attempt}.log"
    found = re.search(
        r"resuming from .* \(step ([\d,]+)\)",
        log.read_text(errors="replace") if log.exists() else "",
    )
    return int(found[1].replace(",", "")) if found else otherwise


def _check_tidiness(victim: Victim) -> None:
    left = [pid for session in victim.sessions for pid in in_session(session)]
    _check(not left, f"its processes {left} still run")
    if victim.status().note == KILLED_AT_THE_END:
        return  # nothing runs after that which could tidy
    aside = [
        *victim.path.rglob("*.tmp"),
        *victim.path.rglob("aside-*"),
        *victim.path.glob(".*.json.*"),
    ]
    _check(not aside, f"half-written files are left: {aside}")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise LossError(message)
