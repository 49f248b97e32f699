"""A training's time ends: what a test with short leads shows of a profile's own values, and what it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcdl.launch.deadline import Request
from hpcdl.promises.judging import judge
from hpcdl.promises.names import chosen_promises
from hpcdl.promises.verdict import Verdict
from tests.promises.test_verdicts import SITE, recorded

KILLED = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-29T08:51:46 DUE TO TIME LIMIT ***"
WARNED = Request(by_clock=False, left_s=43, ended_s=39)
DROPPED = Request(by_clock=True, left_s=15, ended_s=11)


def verdict_of(
    request: Request | None,
    lead_s: int = 180,
    margin_s: int = 60,
    killed: bool = False,
    **changed: Any,
) -> Verdict:
    """What is said of a profile with a lead and a margin, after a test with a lead of 40 s."""
    stop = replace(recorded()["stop"], request=request, lead_s=40, margin_s=15)
    if killed:
        first = replace(stop.attempts[0], reason="killed")
        stop = replace(stop, attempts=[first], state="failed", output=KILLED)
    cluster = replace(SITE, signal_lead_s=lead_s, stop_margin_s=margin_s)
    evidence = {"stop": replace(stop, **changed)}
    return judge(chosen_promises(["warned"]), evidence, cluster)["warned"]


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [
        (verdict_of(WARNED), "SLURM's warning came 43 s before the time limit, and 4 s later"),
        (verdict_of(WARNED, lead_s=65535), "4 s later it had saved"),
        (verdict_of(WARNED, lead_s=5), "4 s later"),
        (verdict_of(WARNED, lead_s=30, margin_s=0), "4 s later"),
        (verdict_of(DROPPED, margin_s=120), "in time (stop_margin_s: 120)"),
        (verdict_of(DROPPED, lead_s=900, margin_s=600), "no warning came 40 s before"),
        (verdict_of(Request(True, 45, 20), margin_s=120), "clock came before SLURM's warning was due"),
    ],
    ids=["default", "long", "short beside the margin", "shortest", "margin", "both", "slow saves"],
)  # fmt: skip
def test_warning_in_time_is_kept(verdict: Verdict, finding: str) -> None:
    assert (verdict.outcome, verdict.change) == ("kept", {})
    assert finding in verdict.finding


@pytest.mark.parametrize(
    ("verdict", "finding", "change"),
    [
        (verdict_of(DROPPED), "no warning came 40 s before the time limit; hpcdl's own clock", {"stop_margin_s": 120}),
        (verdict_of(DROPPED, margin_s=119), "clock stopped it 15 s before", {"stop_margin_s": 120}),
        (verdict_of(Request(True, 15), killed=True), "and it had not saved and ended", {"stop_margin_s": 120}),
        (verdict_of(None, killed=True), "ended without a warning", {"stop_margin_s": 120}),
        (verdict_of(WARNED, lead_s=5, margin_s=15), "a job of yours has 15 s for that", {"signal_lead_s": 180}),
        (verdict_of(Request(False, 95, 40), lead_s=40, margin_s=30), "has 40 s for that", {"signal_lead_s": 180}),
        (verdict_of(Request(False, 43), lead_s=40, margin_s=30, killed=True), "had not saved", {"signal_lead_s": 180}),
        (verdict_of(Request(False, 43, -2), lead_s=40, margin_s=30), "had not saved", {"signal_lead_s": 180}),
    ],
)  # fmt: skip
def test_missing_warning_is_broken(
    verdict: Verdict, finding: str, change: dict[str, object]
) -> None:
    assert (verdict.outcome, verdict.change) == ("broken", change)
    assert finding in verdict.finding


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (verdict_of(None), "who asked the training to stop is not to be seen"),
        (verdict_of(None, killed=True, margin_s=120), "stop_margin_s: 120 is enough, no short test can show"),
        (verdict_of(Request(True, 15), killed=True, margin_s=300), "too late with 15 s"),
        (verdict_of(Request(False, 43), killed=True), "whether the profile's 180 s are enough"),
        (verdict_of(Request(True, 45, 20)), "before SLURM's warning was due, 45 s before"),
        (verdict_of(Request(False, 117, 110)), "was it preempted?"),
    ],
)  # fmt: skip
def test_short_test_cannot_show_it(verdict: Verdict, why: str) -> None:
    assert (verdict.outcome, verdict.change) == ("not tried", {})
    assert why in verdict.finding


def test_second_attempts_end_is_another() -> None:
    """A slow node may not end the resumed training within its limit."""
    verdict = verdict_of(WARNED, output=KILLED, state="failed")

    assert verdict.outcome == "kept"
