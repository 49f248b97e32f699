"""What is done about each cause of a run's end."""

from __future__ import annotations

import pytest

from hpcdl.run import remedies
from hpcdl.run.hints import HINTS
from hpcdl.run.records import AttemptEvent
from hpcdl.run.remedies import CAUSES, Asked, decide

SENT = ["out_of_memory", "node_failure", "device", "time_limit", "internal", "dependency"]


def state_of(cause: str) -> str:
    if cause == "dependency":
        return "cancelled"
    return cause if cause in ("lost", "cancelled") else "failed"


@pytest.mark.parametrize("cause", SENT)
def test_fault_of_world_is_sent(cause):
    assert decide(state_of(cause), cause, [], Asked()).sends
    assert decide(state_of(cause), cause, [], Asked(cause=cause)).sends


@pytest.mark.parametrize("cause", ["user_code", "spec", "data"])
def test_fault_of_user_needs_force(cause):
    refused = decide("failed", cause, [], Asked())

    assert not refused.sends
    assert "RUN" in refused.instead
    assert decide("failed", cause, [], Asked(force=True)).sends


def test_internal_is_sent_once():
    assert decide("failed", "internal", ["time_limit"], Asked()).sends
    assert decide("failed", "internal", ["internal"], Asked()).is_refused
    assert decide("failed", "internal", ["internal"], Asked(force=True)).sends


def test_cancelled_needs_its_name():
    assert decide("cancelled", "cancelled", [], Asked()).is_refused
    assert decide("cancelled", "cancelled", [], Asked(force=True)).is_refused
    assert not decide("cancelled", "cancelled", [], Asked(failed=True)).sends
    assert decide("cancelled", "cancelled", [], Asked(cause="cancelled")).sends


@pytest.mark.parametrize("state", ["done", "queued", "running", "stopping", "requeued", "pruned"])
def test_nothing_to_send(state):
    decision = decide(state, None, [], Asked(force=True))

    assert (decision.sends, decision.is_refused) == (False, False)
    assert state in decision.action


def test_only_the_named_cause():
    assert not decide("failed", "device", [], Asked(cause="time_limit")).sends
    assert not decide("created", None, [], Asked(failed=True)).sends
    assert decide("created", None, [], Asked()).sends
    assert decide("lost", None, [], Asked(failed=True)).sends


def test_unknown_cause_counts_as_internal():
    assert decide("failed", "of_a_later_version", [], Asked()).action == remedies.ONCE


def test_every_hinted_cause_has_a_row():
    assert set(HINTS) - {"unfit_node"} <= set(CAUSES)


def test_refused_sending_does_not_count():
    """SLURM refused the first one: no attempt followed it."""
    resumed = AttemptEvent("resumed", cause="internal")
    start, end = AttemptEvent("start"), AttemptEvent("end")

    assert remedies.sent_before([start, end, resumed, end]) == []
    assert remedies.sent_before([start, end, resumed, end, resumed, start, end]) == ["internal"]
